"""Trains a network that estimates homographies, and matches images with it."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import (
    get_perspective_transform,
    image_corners,
    resize_homography,
    warp_points,
)
from patchmatch.ops.luma import luma
from patchmatch.pairs.alignment import MIN_ALIGNED, count_aligned_cells
from patchmatch.pairs.homography.data import HomographyBatch
from patchmatch.pairs.homography.net import HomographyNet, matching_loss
from patchmatch.pairs.homography.refinement import align_images, refine_homography
from patchmatch.pairs.homography.search import coarse_homographies
from patchmatch.pairs.homography.similarity import image_correlation, local_correlation
from patchmatch.pairs.homography.views import overlap_views
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.trainable import TrainablePairMatcher

# A homography is accepted if the images correlate as a whole, or locally on part of the grid
# (an occluder may cover the rest), and if enough grid points match: a few match by chance.
MIN_CORRELATION = 0.3
MIN_LOCAL_CORRELATION, MIN_LOCAL_FRACTION = 0.5, 0.25
MIN_MATCHED_FRACTION = 0.1
ERROR_THRESHOLDS = (1, 3, 5)  # pixels
HYPOTHESES = 3  # coarse homographies of a zoom from which the network starts
MIN_CELLS = 12  # aligned cells of a homography that is found by search

Pair = tuple[Tensor, Tensor]  #: two gray images


class HomographyNetMatcher(TrainablePairMatcher):
    """Homography estimation by four-point regression (DeTone et al. 2016) and refinement.

    A network estimates the homography on small images, from which no corner may move by much more
    than a quarter of the side; Lucas-Kanade refines it on larger ones. If the images do not agree
    with the result, the network starts again at coarse homographies of other rotations and scales.
    The matches are a regular grid under the homography, each scored by the correlation of both
    images around it. An unreliable homography yields no matches.

    Args:
        side: Side in pixels to which both images are resized for the network, whatever their
            aspect ratio.
        width: Channels of the first layers of the network.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        passes: Passes of the network; each warps image 1 by the last estimate.
        search: Where the images are not aligned by the homography, start again at any rotation and
            at scales up to about four; takes seconds.
        grid: Grid points along each side of image 0.
        min_score: Minimum score of a match.
        options: Options of ``PairMatcher``.
    """

    shipped_weights = "homography_net.ckpt"
    needs_float32 = True
    finds_homographies = True
    predict_config = "config_match_homography_net.yaml"
    checkpoint_settings = frozenset({"side", "width", "lr", "weight_decay"})

    def __init__(
        self,
        side: int = 128,
        width: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        passes: int = 3,
        search: bool = True,
        grid: int = 24,
        min_score: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(min_score=min_score, **options)
        if passes < 1:
            raise ValueError(f"passes must be at least 1, got {passes}")
        if grid < 2:
            raise ValueError(f"grid must be at least 2, got {grid}")
        self.net = HomographyNet(side, width)
        self.lr, self.weight_decay = lr, weight_decay
        self.passes, self.search, self.grid = passes, search, grid

    def find_correspondences(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Return a grid of points of image 0 and where the homography maps them."""
        images, masks = (image0, image1), (valid0, valid1)
        homography = self._estimate(images, resize_homography(_size(image0), _size(image1)))
        homography = self._aligned(images, masks, homography)
        if self.search:
            alignment = count_aligned_cells(*images, homography, *masks)
            if alignment.fraction is not None and alignment.fraction < MIN_ALIGNED:
                homography = self._search(images, masks, homography)
        return self._grid(images, homography)

    def _estimate(self, images: Pair, homography: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
        """Return the homography that the network estimates, starting at a coarse one."""
        views = overlap_views(*images, homography, self.net.side)
        if views is None:
            return homography
        update = self._homography(self.net(views.image0, views.image1, self.passes)[-1].corners)
        if self.align:
            update = refine_homography(views.image0, views.image1, update, valid1=views.valid1)
        update = homography @ views.to_image0 @ update[0].cpu() @ views.to_image0.inverse()
        return update / update[2, 2]

    def _aligned(
        self, images: Pair, masks: Sequence[Tensor | None], homography: Float[Tensor, "3 3"]
    ) -> Float[Tensor, "3 3"]:
        return align_images(*images, homography, *masks) if self.align else homography

    def _search(
        self, images: Pair, masks: Sequence[Tensor | None], homography: Float[Tensor, "3 3"]
    ) -> Float[Tensor, "3 3"]:
        """Return a homography at any rotation and scale that aligns the images, if one is found.

        Without one, ``homography`` is returned.
        """
        for hypotheses in coarse_homographies(self.net.features, *images, self.net.side):
            estimates = [self._estimate(images, coarse) for coarse in hypotheses[:HYPOTHESES]]
            if not estimates:
                continue
            best = max(estimates, key=lambda estimate: self._correlation(images, estimate))
            best = self._aligned(images, masks, best)
            alignment = count_aligned_cells(*images, best, *masks)
            if alignment.aligned >= MIN_CELLS and (alignment.fraction or 0) >= MIN_ALIGNED:
                return best
        return homography

    def _correlation(self, images: Pair, homography: Float[Tensor, "3 3"]) -> float:
        """Return the correlation of the images in their overlap; -1 without overlap."""
        views = overlap_views(*images, homography, self.net.side)
        if views is None:
            return -1.0
        identity = torch.eye(3, dtype=torch.float64, device=views.image0.device)[None]
        return image_correlation(views.image0, views.image1, identity, None, views.valid1)[0].item()

    def _grid(self, images: Pair, homography: Float[Tensor, "3 3"]) -> Correspondences:
        """Return a grid of points in the overlap, scored by the correlation around them."""
        side, device = self.net.side, images[0].device
        views = overlap_views(*images, homography, side)
        if views is None:
            nothing = torch.zeros(0, 2, dtype=torch.float64, device=device)
            return Correspondences(points0=nothing, points1=nothing, score=nothing[:, 0])
        identity = torch.eye(3, dtype=torch.float64, device=device)[None]
        pair = (views.image0, views.image1, identity)
        score, inside = local_correlation(*pair, views.valid1)
        position = torch.linspace(0, side - 1, self.grid, device=device).round().long()
        y, x = (axis.flatten() for axis in torch.meshgrid(position, position, indexing="ij"))
        score, inside = score[0, 0, y, x], inside[0, 0, y, x]
        locally = (score >= MIN_LOCAL_CORRELATION).sum() >= MIN_LOCAL_FRACTION * inside.sum()
        globally = image_correlation(*pair, None, views.valid1)[0] >= MIN_CORRELATION
        enough = (score >= self.min_score).sum() >= MIN_MATCHED_FRACTION * inside.sum()
        to_image0, homography = views.to_image0.to(device), homography.to(device)
        points0 = warp_points(to_image0, torch.stack([x, y], dim=1).to(homography))
        points1 = warp_points(homography, points0)
        keep = inside & points1.isfinite().all(dim=1) & (score > 0)
        keep &= (globally | locally) & enough
        return Correspondences(points0=points0, points1=points1, score=score)[keep]

    def training_step(self, batch: HomographyBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, the cross-entropy of the true matches."""
        image0, image1, corners1 = self._inputs(batch)
        output = self.net(image0, image1, 1)[-1]
        loss = matching_loss(output, batch["homography"], batch["valid"])
        self.log("train/loss", loss, batch_size=len(corners1))
        error = (output.corners - corners1).norm(dim=2).mean()
        self.log("train/corner_error", error, batch_size=len(corners1), prog_bar=True)
        return loss

    def validation_step(self, batch: HomographyBatch, batch_idx: int) -> None:
        """Evaluate a batch of validation images, with the identity for comparison."""
        self._evaluate("val", batch)

    def test_step(self, batch: HomographyBatch, batch_idx: int) -> None:
        """Evaluate a batch of test images, with the identity and SIFT for comparison."""
        self._evaluate("test", batch)
        image0, image1, corners1 = self._inputs(batch)
        corners0 = self._corners0(corners1)
        estimates, sift = [], SIFTMatcher()
        for i in range(len(corners1)):
            homography = sift.match(image0[i : i + 1], image1[i : i + 1]).homography
            homography = torch.eye(3) if homography is None else homography
            estimates.append(warp_points(homography.to(corners1), corners0[i]))
        self._log_errors("test", batch, torch.stack(estimates), "sift_")

    def _evaluate(self, stage: str, batch: HomographyBatch) -> None:
        image0, image1, corners1 = self._inputs(batch)
        self._log_errors(stage, batch, self.net(image0, image1, self.passes)[-1].corners)
        self._log_errors(stage, batch, self._corners0(corners1), "identity_")

    def _log_errors(
        self, stage: str, batch: HomographyBatch, estimate: Float[Tensor, "B 4 2"], prefix: str = ""
    ) -> None:
        """Log the error of estimated corners; in a test also after refinement."""
        image0, image1, corners1 = self._inputs(batch)
        self._log_error(stage, (estimate - corners1).norm(dim=2).mean(dim=1), prefix)
        if stage == "test":
            refined = refine_homography(image0, image1, self._homography(estimate))
            estimate = warp_points(refined, self._corners0(refined)).to(corners1)
            error = (estimate - corners1).norm(dim=2).mean(dim=1)
            self._log_error(stage, error, f"{prefix}refined_")

    def _log_error(self, stage: str, error: Float[Tensor, "B"], prefix: str) -> None:
        """Log the mean error in pixels, clipped to the side, and the fractions below thresholds."""
        count = len(error)
        clipped = error.nan_to_num(self.net.side).clamp_max(self.net.side)
        name = f"{stage}/{prefix}corner_error"
        self.log(name, clipped.mean(), batch_size=count, prog_bar=not prefix)
        for pixels in ERROR_THRESHOLDS:
            fraction = (error <= pixels).float().mean()
            self.log(f"{stage}/{prefix}within_{pixels}", fraction, batch_size=count)

    def _homography(self, corners1: Float[Tensor, "B 4 2"]) -> Float[Tensor, "B 3 3"]:
        """Return the homographies that map the corners of image 0 to ``corners1``, in double."""
        return get_perspective_transform(self._corners0(corners1.double()), corners1)

    def _corners0(self, like: Tensor) -> Float[Tensor, "B 4 2"]:
        """Return the corners of image 0 for a batch, with the device and dtype of ``like``."""
        return image_corners(self.net.side, self.net.side).to(like).expand(len(like), -1, -1)

    def _inputs(self, batch: HomographyBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return both images in gray, and the true corners of image 0 in image 1, (B, 4, 2).

        Raises:
            InputError: If the image size differs from that of the network.
        """
        side, shape = self.net.side, tuple(batch["image0"].shape[-2:])
        if shape != (side, side):
            raise InputError(
                f"data.side: expected {side} pixels as the network (model.side), got images of "
                f"{shape[1]}x{shape[0]}; give the same side to --data.side and --model.side"
            )
        corners1 = warp_points(batch["homography"], self._corners0(batch["homography"]))
        return luma(batch["image0"]), luma(batch["image1"]), corners1.float()


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
