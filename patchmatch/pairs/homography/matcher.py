"""Training a net that estimates homographies, and matching pictures by it."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.core.trained import TrainedPairs
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import homography_of_corners, image_corners, resizing, warp_points
from patchmatch.ops.luma import luma
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.homography.alignment import agreement, refine_homography
from patchmatch.pairs.homography.data import HomographyBatch
from patchmatch.pairs.homography.net import HomographyNet, matching_loss
from patchmatch.pairs.matcher import Found, PairMatcher
from patchmatch.pairs.points import reduced_pair
from patchmatch.pairs.sift import SIFTMatcher

WINDOW = 17  # pixels a side over which both images are compared to score a place
FLAT = 0.3  # standard deviation of a window, of even contrast, that shows nothing
ALIKE = 0.3  # correlation of what both pictures show; below it the homography is believed only
PART = 0.25  # where so large a share of the places
CLEAR = 0.5  # scores as much: something else may cover the rest
FEWEST = 0.1  # share of the places that must match: a few always look alike by chance
WITHIN = (1, 3, 5)  # pixels


class HomographyNetMatcher(TrainedPairs, PairMatcher):
    """The homography of two pictures by four-point regression (DeTone et al. 2016).

    It knows pictures of nearly one place: no corner may have moved by much more than a quarter of
    the side. A net estimates the homography on small pictures, steps of Lucas and Kanade make it
    exact on larger ones. What comes out is a grid of places under it, each with the correlation of
    both pictures around it, in even contrast; where they do not look alike there is no match. Where
    they do not as a whole, all scores are 0.

    Args:
        side: Side in pixels to which both pictures are reduced inside, whatever their shape.
        width: Channels of the finest features.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        passes: How often the net estimates, each time on what the last estimate left.
        refine: Pixels to which the longer side is reduced where the homography is made exact; null
            leaves it as the net estimates it.
        grid: Places along each side of image 0 that become matches.
        min_score: Matches that score less are left out.
        options: Of ``PairMatcher``.
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
        """Return a grid of places of image 0 and where the homography takes them."""
        side = self.net.side
        images = (image0, image1)
        small0, small1 = (_reduced(image, side) for image in images)
        to0, to1 = (resizing(_size(image), (side, side)).to(image0.device) for image in images)
        matrix = to1.inverse() @ self.estimate(small0, small1) @ to0
        if self.refine is not None and max(*_size(image0), *_size(image1)) > side:
            matrix = _refined_on(reduced_pair(image0, image1, self.refine), images, matrix)
        homography = to1 @ matrix @ to0.inverse()
        score, seen = local_similarity(small0, small1, homography)
        place = torch.linspace(0, side - 1, self.grid, device=image0.device).round().long()
        y, x = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
        score, seen = score[0, 0, y, x], seen[0, 0, y, x]
        clear = (score >= CLEAR).sum() >= PART * seen.sum()
        alike = agreement(small0, small1, homography)[0] >= ALIKE
        enough = (score >= self.min_score).sum() >= FEWEST * seen.sum()
        points0 = warp_points(to0.inverse(), torch.stack([x, y], dim=1).to(homography))
        points1 = warp_points(matrix[0], points0)
        known = seen & points1.isfinite().all(dim=1) & (score > 0) & (alike | clear) & enough
        return Found(points0[known], points1[known], score[known])

    def estimate(
        self, image0: Float[Tensor, "B 1 S S"], image1: Float[Tensor, "B 1 S S"]
    ) -> Float[Tensor, "B 3 3"]:
        """Return the homographies of small images, made exact if that is asked for."""
        corners1 = self.net(image0, image1, self.passes)[-1].corners
        return self._with_corners(image0, image1, corners1, self.refine is not None)

    def training_step(self, batch: HomographyBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: how unlikely the net makes the true partners."""
        image0, image1, truth = self._inputs(batch)
        found = self.net(image0, image1, 1)[-1]
        loss = matching_loss(found, batch["homography"], batch["valid"])
        self.log("train/loss", loss, batch_size=len(truth))
        error = (found.corners - truth).norm(dim=2).mean()
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
        found, sift = [], SIFTMatcher()
        for i in range(len(truth)):
            homography = sift.match(image0[i : i + 1], image1[i : i + 1]).homography
            matrix = torch.eye(3) if homography is None else homography
            found.append(warp_points(matrix.to(truth), corners0))
        self._compare("test", batch, torch.stack(found), "sift_")

    def _measure(self, stage: str, batch: HomographyBatch) -> None:
        image0, image1, truth = self._inputs(batch)
        corners0 = image_corners(self.net.side, self.net.side).to(truth).expand_as(truth)
        self._compare(stage, batch, self.net(image0, image1, self.passes)[-1].corners)
        self._compare(stage, batch, corners0, "identity_")

    def _compare(
        self, stage: str, batch: HomographyBatch, corners1: Float[Tensor, "B 4 2"], kind: str = ""
    ) -> None:
        """Log how far corners are off, as they were found and made exact."""
        image0, image1, truth = self._inputs(batch)
        self._log(stage, (corners1 - truth).norm(dim=2).mean(dim=1), kind)
        if stage == "test":
            exact = self._with_corners(image0, image1, corners1, True)
            corners0 = image_corners(self.net.side, self.net.side).to(exact)
            moved = warp_points(exact, corners0.expand(len(exact), -1, -1)).to(truth)
            self._log(stage, (moved - truth).norm(dim=2).mean(dim=1), f"{kind}refined_")

    def _with_corners(
        self, image0: Tensor, image1: Tensor, corners1: Tensor, exactly: bool
    ) -> Float[Tensor, "B 3 3"]:
        """Return the homographies that take the corners there, in double precision."""
        corners0 = image_corners(self.net.side, self.net.side).to(image0.device)
        homography = homography_of_corners(corners0.expand(len(corners1), -1, -1), corners1)
        return refine_homography(image0, image1, homography) if exactly else homography

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


def local_similarity(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]]:
    """Return how alike two images are around each pixel under a homography, and which both show.

    That is the normalised correlation of windows of even contrast, in [0, 1]; 0 where either is
    plain, or where image 1 shows less than half of the window.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Takes points of image 0 to image 1.
    """
    even0, even1 = normalize_contrast(image0), normalize_contrast(image1)
    both = torch.cat([even1, torch.ones_like(even1)], dim=1)
    there, inside = warp_by_homography(both, homography, *image0.shape[-2:]).chunk(2, dim=1)
    seen = inside > 0.99
    shown = F.avg_pool2d(seen.to(there), WINDOW, 1, WINDOW // 2, count_include_pad=False)

    def mean(values: Tensor) -> Tensor:
        values = torch.where(seen, values, 0.0)
        total = F.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)
        return total / shown.clamp_min(0.5)

    mean0, mean1 = mean(even0), mean(there)
    spread0 = (mean(even0.square()) - mean0.square()).clamp_min(0)
    spread1 = (mean(there.square()) - mean1.square()).clamp_min(0)
    product = mean(even0 * there) - mean0 * mean1
    length = ((spread0 + FLAT**2) * (spread1 + FLAT**2)).sqrt()
    return torch.where(shown >= 0.5, (product / length).clamp(0, 1), 0.0), seen


def _refined_on(
    smaller: tuple[Tensor, Tensor], images: tuple[Tensor, Tensor], homography: Tensor
) -> Float[Tensor, "1 3 3"]:
    """Make the homography of two images exact on smaller ones."""
    to0, to1 = (
        resizing(_size(image), _size(small)).to(homography)
        for image, small in zip(images, smaller, strict=True)
    )
    exact = refine_homography(*smaller, to1 @ homography @ to0.inverse())
    return to1.inverse() @ exact @ to0


def _reduced(image: Tensor, side: int) -> Tensor:
    """Return an image (1, 1, H, W) as (1, 1, side, side); finer texture does not alias."""
    return F.interpolate(
        image, (side, side), mode="bilinear", align_corners=False, antialias=True
    ).clamp(0, 1)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
