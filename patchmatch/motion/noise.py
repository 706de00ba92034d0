"""Noise level of an image, and the difference that noise causes between two images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 10  # pixels: side of the tiles
SPACING = 16  # pixels between tiles, at most
FLAT_QUANTILE = 0.1  # share of the tiles that count as free of texture
BIAS = 0.82  # that quantile over the mean, for tiles of equal noise
# The squared coefficients add up to 36; the mean of |x| is sqrt(2 / pi) standard deviations.
DEVIATION = math.sqrt(math.pi / 2) / 6 / BIAS  # for a mean absolute second difference of 1
# Standard deviation of a difference to noise that is interpolated between four pixels, or is not:
INTERPOLATED, INTEGER = math.sqrt(1.25), math.sqrt(2.0)
JPEG_BLOCK = 8  # pixels
ROW_STEP = 4  # every fourth row is used for the blockiness in x
LARGEST_STEP = 16 / 255  # larger steps between pixels are edges of objects
JPEG_FACTOR = 2.0  # standard deviation of JPEG noise over ``blockiness``
DARK, BRIGHT = 3 / 255, 252 / 255  # a sensor is saturated beyond


def noise_level(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Return the standard deviation of the noise in each image, JPEG artefacts included.

    White noise is estimated by second differences in x and y, which suppress the image (Immerkaer,
    "Fast noise variance estimation", CVIU 1996). As texture passes, the flattest tenth of many
    small tiles counts, without those that are saturated. JPEG artefacts are estimated by their
    blockiness, and count as if they were white noise.

    Args:
        image: Gray, in [0, 1], at least 3x3 pixels.
    """
    side, step = tile_grid(*image.shape[-2:])
    tiles = image[:, 0].unfold(1, side, step).unfold(2, side, step).flatten(1, 2)
    is_saturated = (tiles.amin(dim=(-1, -2)) < DARK) | (tiles.amax(dim=(-1, -2)) > BRIGHT)  # (B, N)
    second = tiles[..., :-2] - 2 * tiles[..., 1:-1] + tiles[..., 2:]
    second = second[..., :-2, :] - 2 * second[..., 1:-1, :] + second[..., 2:, :]
    level = second.abs().mean(dim=(-1, -2)) * DEVIATION
    if not len(level):  # a quantile requires an element
        return level.sum(dim=1)
    ranked = level.masked_fill(is_saturated, torch.inf).sort(dim=1).values
    last = (~is_saturated).sum(dim=1, keepdim=True) - 1
    position = FLAT_QUANTILE * last.clamp_min(0)
    position, below = position.to(ranked), position.long()
    above = torch.minimum(below + 1, last).clamp_min(0)
    found = torch.lerp(ranked.gather(1, below), ranked.gather(1, above), position - below)
    found = torch.where(last < 0, 0.0, found)[:, 0]
    both = found.square() + (JPEG_FACTOR * blockiness(image)).square()
    return both.clamp_min(1e-12).sqrt()  # with a finite slope at 0


def blockiness(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Return the excess of the steps between pixels at the borders of JPEG blocks.

    JPEG quantises blocks of 8x8 pixels separately. The loss has no second differences inside a
    block, but steps at every eighth pixel, from an unknown first one.

    Args:
        image: Gray, in [0, 1].
    """
    sums, counts = [], []
    for steps in (image[:, 0, ::ROW_STEP].diff(dim=2), image[:, 0].diff(dim=1).mT):
        is_small = (steps.abs() < LARGEST_STEP).to(steps)  # (B, lines, positions)
        for found, values in ((sums, steps.abs().where(is_small > 0, 0)), (counts, is_small)):
            phases = [values[..., first::JPEG_BLOCK].sum(dim=(1, 2)) for first in range(JPEG_BLOCK)]
            found.append(torch.stack(phases, dim=1))
    return _excess(torch.stack(sums, dim=1), torch.stack(counts, dim=1))


def _excess(sums: Float[Tensor, "B 2 8"], counts: Float[Tensor, "B 2 8"]) -> Float[Tensor, " B"]:
    """Return the excess of the largest mean step over the second largest, the lesser of x and y.

    The range of the others, by which it may exceed them by chance, is subtracted.

    Args:
        sums: Sums of the steps in x and y at each of eight phases.
        counts: Number of these steps.
    """
    ranked = (sums / counts.clamp_min(1)).sort(dim=2).values
    largest, second, least = ranked[..., -1], ranked[..., -2], ranked[..., 0]
    return (largest - second - (second - least)).amin(dim=1).clamp_min(0)


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """Return the side of the tiles and their spacing, in pixels."""
    side = min(TILE, height, width)
    return side, max(1, min(SPACING, (min(height, width) - side) // 3))


def noise_residual(
    noise: Float[Tensor, "*#N subwindows"], displacement: Float[Tensor, "*N 2"], clip: float = 1.0
) -> Float[Tensor, "*N subwindows"]:
    """Return the mean clipped difference that noise alone leaves between two images.

    Interpolation averages the noise of four pixels. Without this correction, half a pixel would
    match better than zero wherever there is only noise.

    Args:
        noise: Standard deviation of the noise in either image.
        displacement: dx and dy in pixels at which the second image is sampled, bilinearly.
        clip: Upper limit of a difference.
    """
    fraction = displacement - displacement.floor()
    left = (1 - 2 * fraction * (1 - fraction)).prod(dim=-1, keepdim=True)  # share of the variance
    # exact at integer pixels and between four; almost linear between
    share = ((1 + left).sqrt() - INTERPOLATED) / (INTEGER - INTERPOLATED)
    low, high = _mean_clipped(INTERPOLATED * noise, clip), _mean_clipped(INTEGER * noise, clip)
    return low + share * (high - low)


def _mean_clipped(deviation: Tensor, clip: float) -> Tensor:
    """Return the mean of min(abs(x), clip) for normal x of a standard deviation."""
    deviation = deviation / clip + 1e-4
    inside = deviation * math.sqrt(2 / math.pi) * (1 - (-0.5 / deviation.square()).exp())
    return clip * (inside + torch.erfc(math.sqrt(0.5) / deviation))
