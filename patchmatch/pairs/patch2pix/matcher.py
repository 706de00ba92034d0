"""Patch2Pix: coarse proposals refined to pixels, trained from fundamental matrices alone."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.patch2pix.backbone import NAMES, RESNET, load_resnet
from patchmatch.pairs.patch2pix.data import EpipolarBatch
from patchmatch.pairs.patch2pix.losses import (
    CLS_DTHRES,
    CLS_WEIGHT,
    EPI_DTHRES,
    epipolar_distance,
    geometric_loss,
    inlier_loss,
    true_error,
)
from patchmatch.pairs.patch2pix.net import Patch2PixNet, RefinementNet
from patchmatch.pairs.patch2pix.panels import log_panel
from patchmatch.pairs.patch2pix.paper_net import PaperNet
from patchmatch.pairs.patch2pix.proposals import EXPANSIONS, expand_patches
from patchmatch.pairs.patch2pix.published import load_published
from patchmatch.pairs.pretrained import AUTO
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.trainable import PretrainedPairMatcher

ERROR_THRESHOLDS = (1, 3)  # pixels
EPIPOLAR, DENSE = SUPERVISIONS = ("epipolar", "dense")


class Patch2PixMatcher(PretrainedPairMatcher, DetectorFreeMatcher):
    """Patch2Pix (Zhou et al. 2021): proposes matches of patches, and refines them to pixels.

    Two regressors move both ends of a proposal and rate the match; they are trained by the epipolar
    distance alone. The network of the package is small; ``backbone`` resnet34 gives that of the
    paper.

    Args:
        backbone: Network: loftr, small regressors on the frozen convolutions of the shipped LoFTR,
            with mutual nearest neighbours as proposals; or resnet34, that of the paper, with the
            proposals of NCNet.
        backbone_weights: Weights of resnet34 for a training from nothing: auto, which downloads
            those of ImageNet once, or a file with torchvision's state_dict.
        weights: Published weights for resnet34 (patch2pix_pretrained.pth). A training may start
            from them, or from the weights of NCNet alone (ncn_ivd_5ep.pth). Not used with a
            checkpoint.
        change_stride: Proposals of resnet34 at 1/8 of the size, in place of 1/16.
        panc: Anchors of a proposal: 1, or 8, the corners of the patches around it, which find a
            fifth more matches in five times the time.
        proposals: Number of best proposals of a tile to refine.
        confidence: Minimum confidence of a refined match, of either regressor.
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size.
        tile: Side in pixels of the tiles that are matched at once; null matches the whole images.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        supervision: What trains the displacements: epipolar, the Sampson distance from the
            fundamental matrix; or dense, the distance from the true correspondence, which only
            generated scenes have.
        cls_dthres: Squared distances in square pixels below which a proposal and a match of the mid
            regressor are inliers.
        epi_dthres: Squared distances in square pixels below which they train the displacements.
        ptmax: Proposals of an image pair that train.
        jitter: Pixels by which the ends of these are displaced at random at most, in x and in y; 0
            trains on the anchors of ``panc`` instead, as the paper does with 8.
        options: Options of ``PairMatcher``.
    """

    shipped = "patch2pix.ckpt"
    needs_float32 = True
    predict_config = "config_match_patch2pix.yaml"
    checkpoint_settings = frozenset(
        {
            *("backbone", "change_stride", "lr", "weight_decay", "supervision"),
            *("cls_dthres", "epi_dthres", "ptmax", "jitter"),
        }
    )

    def __init__(
        self,
        backbone: str = "loftr",
        backbone_weights: str = AUTO,
        weights: str | None = None,
        change_stride: bool = True,
        panc: int = 1,
        proposals: int = 1000,
        confidence: float = 0.5,
        max_size: int | None = 840,
        tile: int | None = 840,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        supervision: str = EPIPOLAR,
        cls_dthres: tuple[float, float] = CLS_DTHRES,
        epi_dthres: tuple[float, float] = EPI_DTHRES,
        ptmax: int = 48,
        jitter: float = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, tile=tile, **options)
        if backbone not in NAMES:
            raise ValueError(f"backbone must be one of {', '.join(NAMES)}, got {backbone}")
        if weights is not None and backbone != RESNET:
            raise ValueError(
                f"weights are published for backbone {RESNET} only, got backbone {backbone}"
            )
        if supervision not in SUPERVISIONS:
            raise ValueError(
                f"supervision must be one of {', '.join(SUPERVISIONS)}, got {supervision}"
            )
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
        self.in_color = backbone == RESNET
        self.net: RefinementNet = (
            PaperNet(change_stride) if backbone == RESNET else Patch2PixNet(backbone)
        )
        self.backbone_weights, self.weights = backbone_weights, weights
        self.panc, self.proposals, self.confidence = panc, proposals, confidence
        self.lr, self.weight_decay, self.supervision = lr, weight_decay, supervision
        self.cls_dthres, self.epi_dthres = tuple(cls_dthres), tuple(epi_dthres)
        self.ptmax, self.jitter = ptmax, jitter

    def load_pretrained(self) -> None:
        """Load the weights of the package, or published ones."""
        if not isinstance(self.net, PaperNet):
            self.load_shipped()
        elif self.weights is not None:
            load_published(self.net, self.weights)
        else:
            raise InputError(
                f"Patch2Pix: no weights for --model.backbone {RESNET} are shipped; give "
                "patch2pix_pretrained.pth as --model.weights, or a checkpoint as --ckpt_path"
            )

    def initialize(self) -> None:
        """Load the weights that a training from nothing starts with."""
        if not isinstance(self.net, PaperNet):
            return
        if self.weights is not None:
            load_published(self.net, self.weights, regressors=False)
        else:
            load_resnet(self.net.backbone, self.backbone_weights)

    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Match two images: proposals, anchors, and the most confident anchor of each."""
        self.prepare()
        features0, features1 = self.net.extract(image0), self.net.extract(image1)
        cells0, cells1 = (
            _cells(valid, features.coarse.shape[-2:], self.net.stride)
            for valid, features in ((valid0, features0), (valid1, features1))
        )
        points0, points1 = (
            points[: self.proposals]
            for points in self.net.propose(features0, features1, cells0, cells1)
        )
        expanded0, expanded1, _ = expand_patches(points0, points1, self.panc, self.net.shift)
        moved0, moved1, score = self.net.refine_pair(features0, features1, expanded0, expanded1)
        found = Correspondences(points0=moved0, points1=moved1, score=score)
        if not len(points0):
            return found
        best = found.score.unflatten(0, (-1, self.panc)).argmax(dim=1)
        found = found[best + self.panc * torch.arange(len(best), device=best.device)]
        return found[found.score >= self.confidence]

    def training_step(self, batch: EpipolarBatch, batch_idx: int) -> Tensor | None:
        """Return the loss of a batch: distances and classification of both regressors.

        Without two proposals, which their normalisation needs, the batch is left out.
        """
        features0, features1, pair, points0, points1 = self._propose(batch, training=True)
        if len(points0) < 2:
            return None
        refined = self.net.refine(features0, features1, pair, points0, points1)
        count, total = len(batch["image0"]), points0.new_zeros(())
        before = self._distances(batch, pair, points0, points1)
        for step, found in enumerate(refined):
            stage = min(step, 1)  # the fine regressor may be applied several times
            name = ("mid", "fine")[stage]
            cls_limit, epi_limit = self.cls_dthres[stage], self.epi_dthres[stage]
            after = self._distances(batch, pair, found.points0, found.points1)
            geometric = geometric_loss(after, before, epi_limit)
            classified = inlier_loss(found.logits, before < cls_limit)
            total = total + geometric + CLS_WEIGHT * classified
            if step in (0, len(refined) - 1):
                self.log(f"train/{name}_geometric", geometric, batch_size=count)
                self.log(f"train/{name}_classified", classified, batch_size=count)
            before = after.detach()
        self.log("train/loss", total, batch_size=count, prog_bar=True)
        return total

    def validation_step(self, batch: EpipolarBatch, batch_idx: int) -> None:
        """Evaluate the proposals of validation pairs before and after the refinement."""
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: EpipolarBatch, batch_idx: int) -> None:
        """Evaluate the proposals of test pairs before and after the refinement."""
        self._evaluate("test", batch, batch_idx)

    def _evaluate(self, stage: str, batch: EpipolarBatch, batch_idx: int) -> None:
        """Log shares of matches within thresholds, and the matches of the first pair.

        The thresholds are those of the distance from the epipolar geometry (square root of the
        Sampson distance), and from the true correspondence of end 0, where it is known.
        """
        features0, features1, pair, points0, points1 = self._propose(batch, training=False)
        mid, *_, fine = self.net.refine(features0, features1, pair, points0, points1)
        count = len(batch["image0"])
        ends = {"coarse": (points0, points1), "mid": (mid.points0, mid.points1)}
        ends["fine"] = fine.points0, fine.points1
        squares = {
            name: epipolar_distance(batch["fundamental"], pair, *both)
            for name, both in ends.items()
        }
        loss = geometric_loss(squares["fine"], squares["coarse"], self.epi_dthres[0])
        self.log(f"{stage}/sampson", loss, batch_size=count)
        for name, both in ends.items():
            errors = {f"{name}_epipolar": squares[name].sqrt()}
            if batch["valid"].any():
                errors[name] = true_error(batch["flow"], batch["valid"], pair, *both)
            for label, error in errors.items():
                error = error[error.isfinite()]
                for pixels in ERROR_THRESHOLDS:
                    share = (error <= pixels).float().sum() / max(1, len(error))
                    self.log(f"{stage}/{label}_{pixels}", share, batch_size=count)
        if batch_idx == 0:
            first = pair == 0
            images = batch["image0"][0], batch["image1"][0]
            rows = {k: (p0[first], p1[first], squares[k][first]) for k, (p0, p1) in ends.items()}
            log_panel(self.loggers, f"{stage}/matches", images, rows, self.global_step)

    def _propose(
        self, batch: EpipolarBatch, training: bool
    ) -> tuple[Any, Any, Tensor, Tensor, Tensor]:
        """Return the features of both images, and the proposals: pair index and both ends.

        Training takes random ones, displaced or expanded; evaluation takes the best.
        """
        features0, features1 = self.net.extract(batch["image0"]), self.net.extract(batch["image1"])
        pairs, points = [], []
        for index in range(len(batch["image0"])):
            one = slice(index, index + 1)
            ends = torch.cat(self.net.propose(features0[one], features1[one]), dim=1)
            kept = torch.randperm(len(ends), device=ends.device) if training else slice(None)
            ends = ends[kept][: self.ptmax]
            if training and self.jitter:
                amount = self.jitter * torch.rand_like(ends[:, :1])  # some stay as they are
                ends = ends + amount * (2 * torch.rand_like(ends) - 1)
            elif training:
                anchors = expand_patches(ends[:, :2], ends[:, 2:], self.panc, self.net.shift)
                ends = torch.cat(anchors[:2], dim=1)
            points.append(ends)
            pairs.append(torch.full((len(ends),), index, device=ends.device))
        points0, points1 = torch.cat(points).split(2, dim=1)
        return features0, features1, torch.cat(pairs), points0, points1

    def _distances(
        self, batch: EpipolarBatch, pair: Tensor, points0: Tensor, points1: Tensor
    ) -> Float[Tensor, "M"]:
        """Return the squared distances of matches that train, infinite where unknown."""
        if self.supervision == EPIPOLAR:
            return epipolar_distance(batch["fundamental"], pair, points0, points1)
        if not batch["valid"].any():
            raise InputError(
                "--model.supervision dense requires true correspondences, which these data do not "
                f"have; give {EPIPOLAR}, or --data EpipolarPairs"
            )
        error = true_error(batch["flow"], batch["valid"], pair, points0, points1)
        # half of the square: that of two ends that meet in the middle, as the Sampson distance
        return torch.where(error.isfinite(), error, torch.inf).square() / 2


def _cells(valid: Tensor | None, size: torch.Size, stride: int) -> Tensor | None:
    """Return the valid cells of a mask (1, H, W): more than half of their pixels are."""
    if valid is None:
        return None
    height, width = valid.shape[-2:]
    bottom, right = stride * size[0] - height, stride * size[1] - width
    return F.avg_pool2d(F.pad(valid[:, None].float(), (0, right, 0, bottom)), stride)[0, 0] > 0.5
