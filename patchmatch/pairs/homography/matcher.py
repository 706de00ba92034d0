"""Trains a network that estimates homographies, and matches images with it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.core.trained import TrainedPairs
from patchmatch.ops.homography import (
    get_perspective_transform,
    image_corners,
    resize_homography,
    warp_points,
)
from patchmatch.ops.luma import luma
from patchmatch.pairs.homography.data import HomographyBatch
from patchmatch.pairs.homography.net import HomographyNet, matching_loss
from patchmatch.pairs.homography.refinement import refine_homography
from patchmatch.pairs.homography.similarity import image_correlation, local_correlation
from patchmatch.pairs.matcher import Found, PairMatcher
from patchmatch.pairs.points import reduced_pair
from patchmatch.pairs.sift import SIFTMatcher

# A homography is accepted if the images correlate as a whole, or locally on part of the grid
# (an occluder may cover the rest), and if enough grid points match: a few match by chance.
MIN_CORRELATION = 0.3
MIN_LOCAL_CORRELATION, MIN_LOCAL_FRACTION = 0.5, 0.25
MIN_MATCHED_FRACTION = 0.1
ERROR_THRESHOLDS = (1, 3, 5)  # pixels


class HomographyNetMatcher(TrainedPairs, PairMatcher):
    """Homography estimation by four-point regression (DeTone et al. 2016) and refinement.

    For images of nearly the same scene: no corner may move by much more than a quarter of the side.
    A network estimates the homography on small images; Lucas-Kanade refines it on larger ones. The
    matches are a regular grid under the homography, each scored by the correlation of both images
    around it. An unreliable homography yields no matches.

    Args:
        side: Side in pixels to which both images are resized for the network, whatever their
            aspect ratio.
        width: Channels of the first layers of the network.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        passes: Passes of the network; each warps image 1 by the last estimate.
        refine: Pixels to which the longer side is reduced for the Lucas-Kanade refinement; null
            skips the refinement.
        grid: Grid points along each side of image 0.
        min_score: Minimum score of a match.
        options: Options of ``PairMatcher``.
    """

    shipped_weights = "homography_net.ckpt"
    needs_float32 = True
    predict_config = "config_match_homography_net.yaml"
    trained = frozenset({"side", "width", "lr", "weight_decay"})

    def __init__(
        self,
        side: int = 128,
        width: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        passes: int = 3,
        refine: int | None = 512,
        grid: int = 24,
        min_score: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(min_score=min_score, **options)
        if passes < 1:
            raise ValueError(f"passes must be at least 1, got {passes}")
        if refine is not None and refine < side:
            raise ValueError(f"refine must be at least side, {side} pixels, got {refine}")
        if grid < 2:
            raise ValueError(f"grid must be at least 2, got {grid}")
        self.net = HomographyNet(side, width)
        self.lr, self.weight_decay = lr, weight_decay
        self.passes, self.refine, self.grid = passes, refine, grid

    def find(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Return a grid of points of image 0 and where the homography maps them."""
        side = self.net.side
        images = (image0, image1)
        small0, small1 = (_resize_to_square(image, side) for image in images)
        to_small0, to_small1 = (
            resize_homography(_size(image), (side, side)).to(image0.device) for image in images
        )
        homography = to_small1.inverse() @ self.estimate(small0, small1) @ to_small0
        if self.refine is not None and max(*_size(image0), *_size(image1)) > side:
            resized = reduced_pair(image0, image1, self.refine)
            homography = _refine_resized(images, resized, homography)
        small_homography = to_small1 @ homography @ to_small0.inverse()
        score, inside = local_correlation(small0, small1, small_homography)
        position = torch.linspace(0, side - 1, self.grid, device=image0.device).round().long()
        y, x = (axis.flatten() for axis in torch.meshgrid(position, position, indexing="ij"))
        score, inside = score[0, 0, y, x], inside[0, 0, y, x]
        locally = (score >= MIN_LOCAL_CORRELATION).sum() >= MIN_LOCAL_FRACTION * inside.sum()
        globally = image_correlation(small0, small1, small_homography)[0] >= MIN_CORRELATION
        enough = (score >= self.min_score).sum() >= MIN_MATCHED_FRACTION * inside.sum()
        points0 = warp_points(to_small0.inverse(), torch.stack([x, y], dim=1).to(homography))
        points1 = warp_points(homography[0], points0)
        keep = inside & points1.isfinite().all(dim=1) & (score > 0)
        keep &= (globally | locally) & enough
        return Found(points0[keep], points1[keep], score[keep])

    def estimate(
        self, image0: Float[Tensor, "B 1 S S"], image1: Float[Tensor, "B 1 S S"]
    ) -> Float[Tensor, "B 3 3"]:
        """Return the homographies of small images, refined if ``refine`` is set."""
        homography = self._homography(self.net(image0, image1, self.passes)[-1].corners)
        return homography if self.refine is None else refine_homography(image0, image1, homography)

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


def _refine_resized(
    images: tuple[Tensor, Tensor], resized: tuple[Tensor, Tensor], homography: Tensor
) -> Float[Tensor, "1 3 3"]:
    """Refine the homography between two images on resized copies of them."""
    to_resized0, to_resized1 = (
        resize_homography(_size(image), _size(copy)).to(homography)
        for image, copy in zip(images, resized, strict=True)
    )
    refined = refine_homography(*resized, to_resized1 @ homography @ to_resized0.inverse())
    return to_resized1.inverse() @ refined @ to_resized0


def _resize_to_square(image: Tensor, side: int) -> Tensor:
    """Resize an image (1, 1, H, W) to (1, 1, side, side) with antialiasing."""
    return F.interpolate(
        image, (side, side), mode="bilinear", align_corners=False, antialias=True
    ).clamp(0, 1)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
