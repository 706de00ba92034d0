"""Training a net that estimates homographies, and matching pictures by it."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.data.warped_images import HomographyBatch
from patchmatch.errors import InputError
from patchmatch.matchers.pairs import Found, PairMatcher
from patchmatch.matchers.sift import SIFTMatcher
from patchmatch.matchers.trained import TrainedPairs
from patchmatch.nets import HomographyNet
from patchmatch.nets.homography import Pass
from patchmatch.ops import (
    homography_of_corners,
    image_corners,
    luma,
    resizing,
    warp_by_homography,
    warp_points,
)

WINDOW = 9  # pixels a side over which both images are compared to score a place
FLAT = 2 / 255  # standard deviation of a window that shows nothing
WITHIN = (1, 3, 5)  # pixels
TRAINED = (1, 1)  # passes in training
GUIDANCE = 0.1  # what it counts that features find each other, beside where the corners are
SHARPNESS = 10.0  # a correlation of 1 is e^10 times as likely as one of 0


class HomographyNetMatcher(TrainedPairs, PairMatcher):
    """The homography of two pictures by four-point regression (DeTone et al. 2016).

    It knows pictures of nearly one place: no corner may have moved by much more than a quarter of
    the side. What comes out is a grid of places under the homography, each with the correlation of
    both pictures around it; where they do not look alike there is no match.

    Args:
        side: Side in pixels to which both pictures are reduced inside, whatever their shape.
        width: Channels of the features.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        coarse_passes: How often the estimate is refined on coarse features.
        fine_passes: How often it is on fine ones.
        grid: Places along each side of image 0 that become matches.
        min_score: Matches that score less are left out.
        options: Of ``PairMatcher``.
    """

    predict_config = "config_match_homography_net.yaml"
    trained = frozenset({"side", "width", "lr", "weight_decay"})

    def __init__(
        self,
        side: int = 128,
        width: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        coarse_passes: int = 1,
        fine_passes: int = 1,
        grid: int = 24,
        min_score: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(min_score=min_score, **options)
        if min(coarse_passes, fine_passes) < 0 or coarse_passes + fine_passes < 1:
            raise ValueError(
                "coarse_passes and fine_passes must be at least 0, and one of them 1, got "
                f"{coarse_passes} and {fine_passes}"
            )
        if grid < 2:
            raise ValueError(f"grid must be at least 2, got {grid}")
        self.net = HomographyNet(side, width)
        self.lr, self.weight_decay = lr, weight_decay
        self.passes, self.grid = (coarse_passes, fine_passes), grid
        #: Steps of training that the weights have behind them.
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def setup(self, stage: str) -> None:
        """Wait for the first pair: a checkpoint is read after this."""

    def prepare(self) -> None:
        """Refuse to match by random weights.

        Raises:
            InputError: If the net was not trained.
        """
        if self.steps == 0:
            raise InputError(
                "the homography net has no weights in the package: train it (patchmatch fit -c "
                "configs/config_homography_train.yaml) and give the checkpoint as --ckpt_path"
            )

    def find(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Return a grid of places of image 0 and where the homography takes them."""
        self.prepare()
        side = self.net.side
        small0, small1 = (_reduced(image, side) for image in (image0, image1))
        corners = self.net(small0, small1, self.passes)[-1].corners
        homography = homography_of_corners(image_corners(side, side).to(corners), corners[0])
        seen = warp_by_homography(small1, homography[None], side, side)
        place = torch.linspace(0, side - 1, self.grid, device=image0.device)
        place = place.round().long()
        y, x = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
        score = local_similarity(small0, seen)[0, 0, y, x]
        points0 = torch.stack([x, y], dim=1).to(homography)
        points1 = warp_points(homography, points0)
        enlarged = [
            warp_points(resizing((side, side), _size(image)).to(homography), points)
            for image, points in ((image0, points0), (image1, points1))
        ]
        known = enlarged[1].isfinite().all(dim=1)
        return Found(enlarged[0][known], enlarged[1][known], score[known])

    def training_step(self, batch: HomographyBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: how far the corners are off after each pass."""
        self.steps += 1
        image0, image1, truth = self._inputs(batch)
        found = self.net(image0, image1, TRAINED)
        loss = truth.new_zeros(())
        for one in found:
            error = (one.corners - truth).abs().sum(dim=2).mean()
            surprise = displacement_loss(one, batch["homography"], batch["valid"])
            loss = loss + error / self.net.side + GUIDANCE * surprise
        self.log("train/loss", loss, batch_size=len(truth))
        error = (found[-1].corners.detach() - truth).norm(dim=2).mean()
        self.log("train/corner_error", error, batch_size=len(truth), prog_bar=True)
        return loss

    def validation_step(self, batch: HomographyBatch, batch_idx: int) -> None:
        """Measure a batch of held-out pictures, beside no motion at all."""
        self._measure("val", batch)

    def test_step(self, batch: HomographyBatch, batch_idx: int) -> None:
        """Measure a batch of test pictures, beside no motion at all and beside SIFT."""
        self._measure("test", batch)
        image0, image1, truth = self._inputs(batch)
        corners0 = image_corners(self.net.side, self.net.side).to(truth)
        errors, sift = [], SIFTMatcher()
        for i in range(len(truth)):
            found = sift.match(image0[i : i + 1], image1[i : i + 1]).homography
            matrix = torch.eye(3) if found is None else found
            moved = warp_points(matrix.to(truth), corners0)
            errors.append((moved - truth[i]).norm(dim=1).mean())
        self._log("test", torch.stack(errors), "sift_")

    def _measure(self, stage: str, batch: HomographyBatch) -> None:
        image0, image1, truth = self._inputs(batch)
        found = self.net(image0, image1, self.passes)[-1].corners
        error = (found - truth).norm(dim=2).mean(dim=1)
        self._log(stage, error)
        corners0 = image_corners(self.net.side, self.net.side).to(truth)
        self._log(stage, (corners0 - truth).norm(dim=2).mean(dim=1), "identity_")

    def _log(self, stage: str, error: Float[Tensor, "B"], kind: str = "") -> None:
        """Log the mean corner error in pixels, at most the side each, and shares below some."""
        count = len(error)
        worst = error.nan_to_num(self.net.side).clamp_max(self.net.side)
        self.log(f"{stage}/{kind}corner_error", worst.mean(), batch_size=count, prog_bar=not kind)
        for pixels in WITHIN:
            share = (error <= pixels).float().mean()
            self.log(f"{stage}/{kind}within_{pixels}", share, batch_size=count)

    def _inputs(self, batch: HomographyBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return both images in gray, and where the corners of image 0 lie in image 1, (B, 4, 2).

        Raises:
            InputError: If the images are not as large as the net's.
        """
        side, shape = self.net.side, tuple(batch["image0"].shape[-2:])
        if shape != (side, side):
            raise InputError(
                f"the net has images of {side}x{side} pixels, the data {shape[1]}x{shape[0]}; "
                f"give --data.side {side} or another --model.side"
            )
        corners = image_corners(side, side).to(batch["homography"])
        truth = warp_points(batch["homography"], corners.expand(len(batch["image0"]), -1, -1))
        return luma(batch["image0"]), luma(batch["image1"]), truth.float()


def displacement_loss(
    seen: Pass, truth: Float[Tensor, "B 3 3"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Return how unlikely the features make the right displacements: their cross-entropy.

    Eight numbers a pair teach slowly what to compare; every pixel of the features teaches it.

    Args:
        seen: What a pass compared.
        truth: The homography from image 0 to image 1.
        valid: The pixels of image 0 that are seen in image 1.
    """
    height, width = seen.correlation.shape[-2:]
    radius = int(seen.correlation.shape[1] ** 0.5) // 2
    rows, columns = (torch.arange(n, device=valid.device) for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y], dim=-1).flatten(0, 1).to(truth)
    rest = torch.linalg.solve(seen.before, truth)
    there = warp_points(rest, (seen.stride * places).expand(len(rest), -1, -1)) / seen.stride
    dx, dy = (there - places).round().clamp(-1e3, 1e3).long().unbind(dim=-1)  # each (B, h * w)
    known = (dx.abs() <= radius) & (dy.abs() <= radius)
    known &= valid[:, :: seen.stride, :: seen.stride].flatten(1)
    number = (dy + radius) * (2 * radius + 1) + dx + radius
    score = SHARPNESS * seen.correlation.flatten(2)  # (B, D, h * w)
    surprise = F.cross_entropy(score, torch.where(known, number, 0), reduction="none")
    return (surprise * known).sum() / known.sum().clamp_min(1)


def local_similarity(
    image0: Float[Tensor, "B 1 H W"], image1: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 1 H W"]:
    """Return the normalised correlation around each pixel, in [0, 1]; 0 where either is plain."""

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)

    mean0, mean1 = mean(image0), mean(image1)
    spread0 = (mean(image0.square()) - mean0.square()).clamp_min(0)
    spread1 = (mean(image1.square()) - mean1.square()).clamp_min(0)
    product = mean(image0 * image1) - mean0 * mean1
    length = ((spread0 + FLAT**2) * (spread1 + FLAT**2)).sqrt()
    return (product / length).clamp(0, 1)


def _reduced(image: Tensor, side: int) -> Tensor:
    """Return an image (1, 1, H, W) as (1, 1, side, side); finer texture does not alias."""
    return F.interpolate(
        image, (side, side), mode="bilinear", align_corners=False, antialias=True
    ).clamp(0, 1)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
