"""A network for four-point homography regression by iterative feature matching."""

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
from patchmatch.pairs.homography.similarity import CONTRAST_FLOOR

STRIDE = 4  # pixels of the image per feature cell
SEARCH_RADIUS = 4  # feature cells: maximum displacement in later passes
LATER_SCALES = (0.09, 0.07, 0.055, 0.04, 0.03, 0.024, 0.024, 0.024)  # of the fit in later passes
INITIAL_SHARPNESS = 10.0  # inverse softmax temperature
MASKED_SCORE = -1e4  # of feature cells excluded from matching


@dataclass(frozen=True, kw_only=True)
class PassOutput:
    """Result of one pass of the network over N x N pairs of feature cells, row by row.

    Attributes:
        corners: (B, 4, 2) float, the corners of image 0 in image 1, x and y in pixels.
        initial: (B, 3, 3) double, the homography image 1 was warped by before the pass.
        scores: (B, N, N) float, similarity of the feature cells of image 0 and of the warped
            image 1.
    """

    corners: Tensor
    initial: Tensor
    scores: Tensor


class HomographyNet(nn.Module):
    """Estimates the homography between two images by four corner offsets (DeTone et al. 2016).

    Each pass correlates all feature cells of both images and fits the corner offsets to the matches
    by robust least squares. Later passes warp image 1 by the estimate first.

    Args:
        side: Side S of the images in pixels, a multiple of 32 and at least 64.
        width: Channels of the first layers; the features have twice as many.
    """

    def __init__(self, side: int = 128, width: int = 32) -> None:
        super().__init__()
        if side < 64 or side % 32:
            raise ValueError(f"side must be a multiple of 32 and at least 64 pixels, got {side}")
        if width < 4:
            raise ValueError(f"width must be at least 4, got {width}")
        self.side = side
        self.fine = nn.Sequential(
            *_conv_block(1, width, 2, size=5),
            *_conv_block(width, width),
            *_conv_block(width, 2 * width, 2),
            *_conv_block(2 * width, 2 * width),
            *_conv_block(2 * width, 2 * width)[:-1],
        )
        self.context = nn.Sequential(
            nn.ReLU(),
            *_conv_block(2 * width, 3 * width, 2),
            *_conv_block(3 * width, 3 * width),
            *_conv_block(3 * width, 3 * width, dilation=2),
            nn.Conv2d(3 * width, 2 * width, 1),
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, 1, 1))
        self.sharpness = nn.Parameter(torch.tensor(math.log(INITIAL_SHARPNESS)))  # a logarithm
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image0: Float[Tensor, "B 1 S S"], image1: Float[Tensor, "B 1 S S"], passes: int = 3
    ) -> list[PassOutput]:
        """Return the output of each pass; the last one is the most accurate.

        Only the scores carry gradients; ``matching_loss`` takes them.

        Args:
            image0: Gray, in [0, 1].
            image1: Gray, in [0, 1].
            passes: Number of passes, at least 1.
        """
        features0, features1 = self.features(torch.cat([image0, image1])).chunk(2)
        corners0 = image_corners(self.side, self.side).to(image0.device)
        corners0 = corners0.expand(len(image0), -1, -1)
        centres = cell_centres(self.side // STRIDE).to(image0.device)
        homography = torch.eye(3, dtype=torch.float64, device=image0.device)
        homography = homography.expand(len(image0), -1, -1)
        covered = features0.new_ones(len(image0), len(centres), dtype=torch.bool)
        outputs = []
        for number in range(passes):
            if number:
                warped, coverage = warp_by_homography(image1, homography, self.side, self.side)
                features1 = self.features(warped)
                covered = F.avg_pool2d(coverage, STRIDE).flatten(1) > 0.9
            scores = self.sharpness.exp() * features0.flatten(2).mT @ features1.flatten(2)
            with torch.no_grad():
                points1, confidence = dual_softmax_matches(
                    scores.masked_fill(~covered[:, None], MASKED_SCORE),
                    SEARCH_RADIUS if number else None,
                )
                points0 = centres.expand(len(image0), -1, -1)
                scales = (LATER_SCALES,) if number else ()
                update = fit_homography(points0, points1, confidence, self.side, *scales)
            initial, homography = homography, homography @ update
            homography = homography / homography[:, 2:, 2:]
            corners1 = warp_points(homography, corners0).float()
            outputs.append(PassOutput(corners=corners1, initial=initial, scores=scores))
        return outputs

    def features(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C h w"]:
        """Return the features of an image at stride 4, of unit norm; sides are multiples of 8."""
        normalized = normalize_contrast(image, CONTRAST_FLOOR)
        fine = self.fine(normalized.contiguous(memory_format=torch.channels_last))
        context = F.interpolate(
            self.context(fine), scale_factor=2, mode="bilinear", align_corners=False
        )
        return F.normalize(self.last(fine + context), dim=1)


def cell_centres(count: int) -> Float[Tensor, "N 2"]:
    """Return the centres of count x count feature cells, row by row: x and y in image pixels."""
    position = STRIDE * torch.arange(count, dtype=torch.float64) + (STRIDE - 1) / 2
    y, x = torch.meshgrid(position, position, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def dual_softmax_matches(
    scores: Float[Tensor, "B N N"], radius: int | None = None
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N"]]:
    """Return the match of each feature cell of image 0 in image 1, with a confidence.

    The probability of a match is the product of the softmax over either image (soft mutual nearest
    neighbours, Rocco et al. 2018). The position is the expectation over the 3x3 feature cells
    around the most probable one.

    Args:
        scores: Similarity of each feature cell of image 0 and each of image 1.
        radius: Maximum displacement in x and in y in feature cells; None for unlimited.

    Returns:
        x and y in pixels of image 1, and the confidence in [0, 1].
    """
    count = math.isqrt(scores.shape[1])
    centres = cell_centres(count).to(scores.device)
    if radius is not None:
        far = (centres[:, None] - centres).abs().amax(dim=2) > radius * STRIDE
        scores = scores.masked_fill(far, MASKED_SCORE)
    probability = scores.softmax(dim=2) * scores.softmax(dim=1)
    best = probability.argmax(dim=2)  # (B, N)
    offset = torch.arange(-1, 2, device=scores.device)
    y = (best // count)[..., None, None] + offset[:, None]  # (B, N, 3, 1)
    x = (best % count)[..., None, None] + offset  # (B, N, 1, 3)
    inside = (y >= 0) & (y < count) & (x >= 0) & (x < count)
    cells = (y.clamp(0, count - 1) * count + x.clamp(0, count - 1)).flatten(2)  # (B, N, 9)
    weight = probability.gather(2, cells) * inside.flatten(2)
    total = weight.sum(dim=2)
    weight = (weight / total.clamp_min(1e-12)[..., None]).double()
    points1 = (weight[..., None] * centres[cells]).sum(dim=2)
    return points1, total.clamp(0, 1).sqrt()


def matching_loss(
    output: PassOutput, truth: Float[Tensor, "B 3 3"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the true matches, summed over both directions.

    A true match between four feature cells is distributed over them with its bilinear weights.

    Args:
        output: Output of a pass.
        truth: The true homography from image 0 to image 1.
        valid: Pixels of image 0 that are visible in image 1.
    """
    count = math.isqrt(output.scores.shape[1])
    centres = cell_centres(count).to(valid.device).expand(len(truth), -1, -1)
    target = warp_points(torch.linalg.solve(output.initial, truth), centres)
    target = (target + 0.5) / STRIDE - 0.5  # in feature cells
    known = F.avg_pool2d(valid[:, None].float(), STRIDE).flatten(1) > 0.5
    known &= ((target > -0.5) & (target < count - 0.5)).all(dim=2)
    target = target.nan_to_num().clamp(0, count - 1)
    low = target.floor().clamp_max(count - 2)
    fraction = (target - low).float()
    x, y = low.long().unbind(dim=2)  # each (B, N)
    weight = torch.stack([1 - fraction, fraction], dim=3)  # (B, N, 2, 2): of x and y, low and high
    loss = torch.zeros((), device=valid.device)
    # Normalisers of the softmax over image 1 and over image 0, each (B, N).
    norm0, norm1 = output.scores.logsumexp(dim=2), output.scores.logsumexp(dim=1)
    for dy in (0, 1):
        for dx in (0, 1):
            cell = (y + dy) * count + x + dx
            score = output.scores.gather(2, cell[..., None])[..., 0]
            cross_entropy = norm0 + norm1.gather(1, cell) - 2 * score
            loss = loss + weight[:, :, 0, dx] * weight[:, :, 1, dy] * cross_entropy
    return (loss * known).sum() / known.sum().clamp_min(1)


def _conv_block(
    channels_in: int, channels: int, stride: int = 1, size: int = 3, dilation: int = 1
) -> tuple[nn.Module, ...]:
    padding = dilation * (size // 2)
    return (
        nn.Conv2d(channels_in, channels, size, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
