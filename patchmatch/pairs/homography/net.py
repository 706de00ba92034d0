"""Four-point regression: where the corners of one image lie in the other, pass by pass."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import image_corners, warp_points
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.homography.four_points import fit_homography

STRIDE = 4  # pixels of an image in a cell of its features
NEAR = 4  # cells: how far a cell may still be off after the first pass
FINE = (0.09, 0.07, 0.055, 0.04, 0.03, 0.024, 0.024, 0.024)  # spreads of later passes
FLOOR = 0.02  # of the standard deviation that contrast is divided by
SHARPNESS = 10.0  # at first: a correlation of 1 is e^10 times as likely as one of 0
NEVER = -1e4  # score of a cell that is out of the question


@dataclass(frozen=True)
class Pass:
    """What a pass saw and found.

    Attributes:
        corners: (B, 4, 2) float, where the corners of image 0 lie in image 1, x and y in pixels.
        before: (B, 3, 3) double, the homography by which image 1 had been warped.
        scores: (B, N, N) float, how alike each cell of image 0 and each of the warped image 1 are;
            the cells row by row.
    """

    corners: Tensor
    before: Tensor
    scores: Tensor


class HomographyNet(nn.Module):
    """Estimates a homography by the offsets of the four corners (DeTone et al. 2016).

    Every cell of image 0 is compared with every cell of image 1; the corners are those that agree
    with most cells, by robust least squares. Image 1 is then warped by the estimate, and a later
    pass sees it nearly as image 0 is.

    Args:
        side: Side S of the images in pixels, a multiple of 32.
        width: Channels of the finest features; cells have twice as many.
    """

    def __init__(self, side: int = 128, width: int = 32) -> None:
        super().__init__()
        if side < 64 or side % 32:
            raise ValueError(f"side must be a multiple of 32 and at least 64 pixels, got {side}")
        if width < 4:
            raise ValueError(f"width must be at least 4, got {width}")
        self.side = side
        self.fine = nn.Sequential(
            *_layer(1, width, 2, size=5),
            *_layer(width, width),
            *_layer(width, 2 * width, 2),
            *_layer(2 * width, 2 * width),
            *_layer(2 * width, 2 * width)[:-1],
        )
        self.context = nn.Sequential(
            nn.ReLU(),
            *_layer(2 * width, 3 * width, 2),
            *_layer(3 * width, 3 * width),
            *_layer(3 * width, 3 * width, dilation=2),
            nn.Conv2d(3 * width, 2 * width, 1),
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, 1, 1))
        self.sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image0: Float[Tensor, "B 1 S S"], image1: Float[Tensor, "B 1 S S"], passes: int = 3
    ) -> list[Pass]:
        """Return what each pass finds, the last one the best.

        The corners are the centres of the corner pixels, clockwise from the top left. Gradients
        go through the scores.

        Args:
            image0: Gray, in [0, 1].
            image1: Gray, in [0, 1].
            passes: How many, at least 1.
        """
        both = self.features(torch.cat([image0, image1]))
        features0, features1 = both.chunk(2)
        corners0 = image_corners(self.side, self.side).to(image0.device)
        corners0 = corners0.expand(len(image0), -1, -1)
        centres = cell_centres(self.side // STRIDE).to(image0.device)
        homography = torch.eye(3, dtype=torch.float64, device=image0.device)
        homography = homography.expand(len(image0), -1, -1)
        shown = features0.new_ones(len(image0), len(centres), dtype=torch.bool)
        found = []
        for number in range(passes):
            if number:
                inside = torch.cat([image1, torch.ones_like(image1)], dim=1)
                warped = warp_by_homography(inside, homography, self.side, self.side)
                features1 = self.features(warped[:, :1])
                shown = F.avg_pool2d(warped[:, 1:], STRIDE).flatten(1) > 0.9
            scores = self.sharpness.exp() * features0.flatten(2).mT @ features1.flatten(2)
            with torch.no_grad():
                points1, confidence = partners(
                    scores.masked_fill(~shown[:, None], NEVER), NEAR if number else None
                )
                points0 = centres.expand(len(image0), -1, -1)
                spreads = (FINE,) if number else ()
                rest = fit_homography(points0, points1, confidence, self.side, *spreads)
            before, homography = homography, homography @ rest
            homography = homography / homography[:, 2:, 2:]
            found.append(Pass(warp_points(homography, corners0).float(), before, scores))
        return found

    def features(self, image: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B C h w"]:
        """Return what each cell looks like, vectors of length one."""
        even = normalize_contrast(image, FLOOR)
        fine = self.fine(even.contiguous(memory_format=torch.channels_last))
        context = F.interpolate(
            self.context(fine), scale_factor=2, mode="bilinear", align_corners=False
        )
        return F.normalize(self.last(fine + context), dim=1)


def cell_centres(count: int) -> Float[Tensor, "N 2"]:
    """Return the centres of count x count cells, row by row: x and y in pixels of the image."""
    place = STRIDE * torch.arange(count, dtype=torch.float64) + (STRIDE - 1) / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def partners(
    scores: Float[Tensor, "B N N"], near: int | None = None
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N"]]:
    """Return where each cell of image 0 lies in image 1, and how sure that is.

    Both must choose each other: the probability of a pair is that of either direction, multiplied
    (Rocco et al. 2018). A place is the mean over the best cell and the eight around it.

    Args:
        scores: How alike each cell of image 0 and each of image 1 are.
        near: Cells in x and in y within which the partner lies; None for anywhere.

    Returns:
        x and y in pixels, and the confidence in [0, 1].
    """
    count = math.isqrt(scores.shape[1])
    centres = cell_centres(count).to(scores.device)
    if near is not None:
        far = (centres[:, None] - centres).abs().amax(dim=2) > near * STRIDE
        scores = scores.masked_fill(far, NEVER)
    probability = scores.softmax(dim=2) * scores.softmax(dim=1)
    best = probability.argmax(dim=2)  # (B, N)
    around = torch.arange(-1, 2, device=scores.device)
    y = (best // count)[..., None, None] + around[:, None]  # (B, N, 3, 1)
    x = (best % count)[..., None, None] + around  # (B, N, 1, 3)
    inside = (y >= 0) & (y < count) & (x >= 0) & (x < count)
    cells = (y.clamp(0, count - 1) * count + x.clamp(0, count - 1)).flatten(2)  # (B, N, 9)
    weight = probability.gather(2, cells) * inside.flatten(2)
    total = weight.sum(dim=2)
    share = (weight / total.clamp_min(1e-12)[..., None]).double()
    places = (share[..., None] * centres[cells]).sum(dim=2)
    return places, total.clamp(0, 1).sqrt()


def matching_loss(
    seen: Pass, truth: Float[Tensor, "B 3 3"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Return how unlikely a pass makes the true partners: the cross-entropy, both directions added.

    A place between four cells is expected in each of them with its bilinear weight.

    Args:
        seen: What a pass compared.
        truth: The homography from image 0 to image 1.
        valid: The pixels of image 0 that are seen in image 1.
    """
    count = math.isqrt(seen.scores.shape[1])
    centres = cell_centres(count).to(valid.device).expand(len(truth), -1, -1)
    there = warp_points(torch.linalg.solve(seen.before, truth), centres)
    there = (there + 0.5) / STRIDE - 0.5  # in cells
    known = F.avg_pool2d(valid[:, None].float(), STRIDE).flatten(1) > 0.5
    known &= ((there > -0.5) & (there < count - 0.5)).all(dim=2)
    there = there.nan_to_num().clamp(0, count - 1)
    low = there.floor().clamp_max(count - 2)
    rest = (there - low).float()
    x, y = low.long().unbind(dim=2)  # each (B, N)
    share = torch.stack([1 - rest, rest], dim=3)  # (B, N, 2, 2): of x and y, the lower and upper
    surprise = torch.zeros((), device=valid.device)
    given0, given1 = seen.scores.logsumexp(dim=2), seen.scores.logsumexp(dim=1)  # each (B, N)
    for dy in (0, 1):
        for dx in (0, 1):
            cell = (y + dy) * count + x + dx
            score = seen.scores.gather(2, cell[..., None])[..., 0]
            unlikely = given0 + given1.gather(1, cell) - 2 * score
            surprise = surprise + share[:, :, 0, dx] * share[:, :, 1, dy] * unlikely
    return (surprise * known).sum() / known.sum().clamp_min(1)


def _layer(
    channels_in: int, channels: int, stride: int = 1, size: int = 3, dilation: int = 1
) -> tuple[nn.Module, ...]:
    padding = dilation * (size // 2)
    return (
        nn.Conv2d(channels_in, channels, size, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
