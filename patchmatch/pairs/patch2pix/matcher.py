"""Patch2Pix: coarse proposals refined to pixels, trained from fundamental matrices alone."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.luma import luma
from patchmatch.ops.sampling import bilinear_sample
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.patch2pix.data import EpipolarBatch
from patchmatch.pairs.patch2pix.losses import (
    CLS_DTHRES,
    CLS_WEIGHT,
    EPI_DTHRES,
    geometric_loss,
    inlier_loss,
    sampson_distance,
)
from patchmatch.pairs.patch2pix.net import Patch2PixNet
from patchmatch.pairs.patch2pix.proposals import (
    EXPANSIONS,
    STRIDE,
    expand_patches,
    mutual_neighbours,
)
from patchmatch.pairs.patch2pix.regressor import Pyramid
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.trainable import TrainablePairMatcher

ERROR_THRESHOLDS = (1, 3)  # pixels


class Patch2PixMatcher(TrainablePairMatcher, DetectorFreeMatcher):
    """Patch2Pix (Zhou et al. 2021): proposes matches of patches, and refines them to pixels.

    Proposals are mutual nearest neighbours of the coarse features (in place of NCNet). Two
    regressors move both ends and rate the match; they are trained by the epipolar distance alone.

    Args:
        backbone: Name of the frozen backbone: loftr, the convolutions of the shipped LoFTR.
        panc: Anchors of a proposal: 1, or 8, the corners of the cells around it.
        proposals: Number of best proposals of a tile to refine.
        confidence: Minimum confidence of a refined match, of either regressor.
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size.
        tile: Side in pixels of the tiles that are matched at once; null matches the whole images.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        cls_dthres: Sampson distances in square pixels below which a proposal and a match of the mid
            regressor are inliers.
        epi_dthres: Sampson distances in square pixels below which they train the displacements.
        ptmax: Proposals of an image pair that train.
        jitter: Pixels by which the ends of these are displaced at random, in x and in y.
        options: Options of ``PairMatcher``.
    """

    shipped_weights = "patch2pix.ckpt"
    needs_float32 = True
    predict_config = "config_match_patch2pix.yaml"
    checkpoint_settings = frozenset(
        {"backbone", "lr", "weight_decay", "cls_dthres", "epi_dthres", "ptmax", "jitter"}
    )

    def __init__(
        self,
        backbone: str = "loftr",
        panc: int = 8,
        proposals: int = 1000,
        confidence: float = 0.5,
        max_size: int | None = 840,
        tile: int | None = 840,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        cls_dthres: tuple[float, float] = CLS_DTHRES,
        epi_dthres: tuple[float, float] = EPI_DTHRES,
        ptmax: int = 48,
        jitter: float = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, tile=tile, **options)
        if panc not in EXPANSIONS:
            raise ValueError(f"panc must be 1 or 8, got {panc}")
        for name, count in (("proposals", proposals), ("ptmax", ptmax)):
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if not 0 <= confidence < 1:
            raise ValueError(f"confidence must be at least 0 and below 1, got {confidence}")
        if not 0 <= jitter < float("inf"):
            raise ValueError(f"jitter must be a number of pixels, at least 0, got {jitter}")
        for name, limits in (("cls_dthres", cls_dthres), ("epi_dthres", epi_dthres)):
            if len(limits) != 2 or min(limits) <= 0:
                raise ValueError(f"{name} must be two positive square distances, got {limits}")
        self.net = Patch2PixNet(backbone)
        self.panc, self.proposals, self.confidence = panc, proposals, confidence
        self.lr, self.weight_decay = lr, weight_decay
        self.cls_dthres, self.epi_dthres = tuple(cls_dthres), tuple(epi_dthres)
        self.ptmax, self.jitter = ptmax, jitter

    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Match two gray images: proposals, anchors, and the most confident anchor of each."""
        pyramid0, pyramid1 = self.net.extract(image0), self.net.extract(image1)
        cells0, cells1 = _cells(valid0, pyramid0), _cells(valid1, pyramid1)
        points0, points1, _ = mutual_neighbours(
            pyramid0.coarse[0], pyramid1.coarse[0], cells0, cells1
        )
        points0, points1 = points0[: self.proposals], points1[: self.proposals]
        expanded0, expanded1, _ = expand_patches(points0, points1, self.panc)
        moved0, moved1, score = self.net.refine_pair(pyramid0, pyramid1, expanded0, expanded1)
        found = Correspondences(points0=moved0, points1=moved1, score=score)
        if not len(points0):
            return found
        best = found.score.unflatten(0, (-1, self.panc)).argmax(dim=1)
        found = found[best + self.panc * torch.arange(len(best), device=best.device)]
        return found[found.score >= self.confidence]

    def training_step(self, batch: EpipolarBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: epipolar distances and classification of both regressors."""
        pyramid0, pyramid1, pair, points0, points1 = self._propose(batch, self.jitter)
        refined = self.net.refine(pyramid0, pyramid1, pair, points0, points1)
        count, total = len(batch["image0"]), points0.new_zeros(())
        before = self._distances(batch, pair, points0, points1)
        stages = zip(("mid", "fine"), refined, self.cls_dthres, self.epi_dthres, strict=True)
        for name, found, cls_limit, epi_limit in stages:
            after = self._distances(batch, pair, found.points0, found.points1)
            geometric = geometric_loss(after, before, epi_limit)
            classified = inlier_loss(found.logits, before < cls_limit)
            total = total + geometric + CLS_WEIGHT * classified
            self.log(f"train/{name}_geometric", geometric, batch_size=count)
            self.log(f"train/{name}_classified", classified, batch_size=count)
            before = after.detach()
        self.log("train/loss", total, batch_size=count, prog_bar=True)
        return total

    def validation_step(self, batch: EpipolarBatch, batch_idx: int) -> None:
        """Evaluate the proposals of validation pairs before and after the refinement."""
        self._evaluate("val", batch)

    def test_step(self, batch: EpipolarBatch, batch_idx: int) -> None:
        """Evaluate the proposals of test pairs before and after the refinement."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: EpipolarBatch) -> None:
        """Log shares of matches within thresholds of the true correspondence of their end 0."""
        pyramid0, pyramid1, pair, points0, points1 = self._propose(batch, 0.0)
        mid, fine = self.net.refine(pyramid0, pyramid1, pair, points0, points1)
        count = len(batch["image0"])
        before = self._distances(batch, pair, points0, points1)
        refined = self._distances(batch, pair, fine.points0, fine.points1)
        loss = geometric_loss(refined, before, self.epi_dthres[0])
        self.log(f"{stage}/sampson", loss, batch_size=count)
        ends = {"coarse": (points0, points1), "mid": (mid.points0, mid.points1)}
        ends["fine"] = fine.points0, fine.points1
        for name, (end0, end1) in ends.items():
            error = true_error(batch["flow"], batch["valid"], pair, end0, end1)
            error = error[error.isfinite()]
            for pixels in ERROR_THRESHOLDS:
                share = (error <= pixels).float().sum() / max(1, len(error))
                self.log(f"{stage}/{name}_{pixels}", share, batch_size=count)

    def _propose(
        self, batch: EpipolarBatch, jitter: float
    ) -> tuple[Pyramid, Pyramid, Tensor, Tensor, Tensor]:
        """Return the features of both images, and the best proposals: pair index and both ends."""
        pyramids = [self.net.extract(luma(batch[name])) for name in ("image0", "image1")]
        pairs, points = [], []
        for index in range(len(batch["image0"])):
            found = mutual_neighbours(*(p.coarse[index] for p in pyramids))
            ends = torch.cat(found[:2], dim=1)
            kept = torch.randperm(len(ends), device=ends.device) if jitter else slice(None)
            ends = ends[kept][: self.ptmax]
            points.append(ends + jitter * (2 * torch.rand_like(ends) - 1))
            pairs.append(torch.full((len(ends),), index, device=ends.device))
        points0, points1 = torch.cat(points).split(2, dim=1)
        return pyramids[0], pyramids[1], torch.cat(pairs), points0, points1

    @staticmethod
    def _distances(
        batch: EpipolarBatch, pair: Tensor, points0: Tensor, points1: Tensor
    ) -> Float[Tensor, "M"]:
        """Return the Sampson distances of matches in square pixels, in float32."""
        matrices = batch["fundamental"].double()[pair]
        ends = (points[:, None].double() for points in (points0, points1))
        return sampson_distance(matrices, *ends)[:, 0].float()


def true_error(
    flow: Float[Tensor, "B 2 H W"],
    valid: Bool[Tensor, "B H W"],
    pair: Tensor,
    points0: Float[Tensor, "M 2"],
    points1: Float[Tensor, "M 2"],
) -> Float[Tensor, "M"]:
    """Return the distances in pixels from the true correspondences; NaN where there are none."""
    errors = points0.new_full((len(points0),), float("nan"))
    for index in range(len(flow)):
        rows = (pair == index).nonzero()[:, 0]
        ends = points0[rows][None]
        known = bilinear_sample(valid[index][None, None].float(), ends, "zeros")[0, 0] > 0.999
        truth = ends[0] + bilinear_sample(flow[index][None], ends)[0].mT
        error = (truth - points1[rows]).norm(dim=1)
        errors[rows] = torch.where(known, error, torch.full_like(error, float("nan")))
    return errors


def _cells(valid: Tensor | None, pyramid: Pyramid) -> Tensor | None:
    """Return the valid cells (h, w) of a mask (1, H, W); its pixels in the cell are the most."""
    if valid is None:
        return None
    rows, columns = pyramid.coarse.shape[-2:]
    height, width = valid.shape[-2:]
    mask = F.pad(valid[:, None].float(), (0, STRIDE * columns - width, 0, STRIDE * rows - height))
    return F.avg_pool2d(mask, STRIDE)[0, 0] > 0.5
