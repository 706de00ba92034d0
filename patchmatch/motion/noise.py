"""Noise level of an image, and the difference that noise causes between two images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 10  # pixels: side of the tiles that are looked at
SPACING = 16  # pixels from tile to tile, at most
QUIET = 0.1  # share of the tiles that is taken for plain
BIAS = 0.82  # where the quietest tenth of equally noisy tiles begins, in units of their mean
# the coefficients' squares add up to 36; the mean of |x| is sqrt(2 / pi) standard deviations
DEVIATION = math.sqrt(math.pi / 2) / 6 / BIAS  # for a mean absolute second difference of 1
# deviations of the difference to noise blended from four pixels, and from one
LEAST, MOST = math.sqrt(1.25), math.sqrt(2.0)
SQUARE = 8  # pixels: what JPEG quantises by itself
SPARSE = 4  # every fourth row tells how much squares differ
EDGE = 16 / 255
QUANTISED = 2.0  # deviations of what JPEG left out, in units of ``squareness``
DARK, BRIGHT = 3 / 255, 252 / 255  # beyond, a sensor is cut off and shows no noise


def noise_level(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Return the standard deviation of the noise in each image: white noise, and that of JPEG.

    Second differences in x and in y leave little of a picture and much of the noise (Immerkaer,
    "Fast noise variance estimation", CVIU 1996). Of many small tiles the quietest tenth counts,
    because texture passes as well; tiles that are cut off at black or white do not. What JPEG has
    left out is told by its squares (``squareness``) and counts as if it were white: there is more
    of it in what is coarse, and less is told of it where much is black or white.

    Args:
        image: Gray, in [0, 1], at least 3x3 pixels.
    """
    side, step = tile_grid(*image.shape[-2:])
    tiles = image[:, 0].unfold(1, side, step).unfold(2, side, step).flatten(1, 2)
    cut_off = (tiles.amin(dim=(-1, -2)) < DARK) | (tiles.amax(dim=(-1, -2)) > BRIGHT)  # (B, N)
    bent = tiles[..., :-2] - 2 * tiles[..., 1:-1] + tiles[..., 2:]
    bent = bent[..., :-2, :] - 2 * bent[..., 1:-1, :] + bent[..., 2:, :]
    level = bent.abs().mean(dim=(-1, -2)) * DEVIATION
    if not len(level):  # quantiles want an element
        return level.sum(dim=1)
    ranked = level.masked_fill(cut_off, torch.inf).sort(dim=1).values
    last = (~cut_off).sum(dim=1, keepdim=True) - 1
    place = QUIET * last.clamp_min(0)
    place, below = place.to(ranked), place.long()
    above = torch.minimum(below + 1, last).clamp_min(0)
    found = torch.lerp(ranked.gather(1, below), ranked.gather(1, above), place - below)
    found = torch.where(last < 0, 0.0, found)[:, 0]
    both = found.square() + (QUANTISED * squareness(image)).square()
    return both.clamp_min(1e-12).sqrt()  # whose slope at 0 has no end


def squareness(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Return by how much pixels side by side differ more at every eighth place than elsewhere.

    JPEG quantises squares of 8x8 pixels, each by itself. What that leaves out no second difference
    tells, since it leaves the squares even; it shows in the steps between them. Squares may begin
    anywhere. Steps of more than ``EDGE`` are those of things.

    Args:
        image: Gray, in [0, 1].
    """
    sums, counts = [], []
    for steps in (image[:, 0, ::SPARSE].diff(dim=2), image[:, 0].diff(dim=1).mT):
        slight = (steps.abs() < EDGE).to(steps)  # (B, lines, places)
        for found, values in ((sums, steps.abs().where(slight > 0, 0)), (counts, slight)):
            places = [values[..., first::SQUARE].sum(dim=(1, 2)) for first in range(SQUARE)]
            found.append(torch.stack(places, dim=1))
    return _excess(torch.stack(sums, dim=1), torch.stack(counts, dim=1))


def _excess(sums: Float[Tensor, "B 2 8"], counts: Float[Tensor, "B 2 8"]) -> Float[Tensor, " B"]:
    """Return how far one mean step is above the others, in x or in y, whichever shows it less.

    By as much as the others differ among themselves it may be so by chance.

    Args:
        sums: Of the lengths of steps in x and in y, at each of eight places.
        counts: Of these steps.
    """
    ranked = (sums / counts.clamp_min(1)).sort(dim=2).values
    largest, second, least = ranked[..., -1], ranked[..., -2], ranked[..., 0]
    return (largest - second - (second - least)).amin(dim=1).clamp_min(0)


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """Return the side of the tiles, and how far they are from each other, in pixels."""
    side = min(TILE, height, width)
    return side, max(1, min(SPACING, (min(height, width) - side) // 3))


def noise_residual(
    noise: Float[Tensor, "*#N cells"], displacement: Float[Tensor, "*N 2"], clip: float = 1.0
) -> Float[Tensor, "*N cells"]:
    """Return the mean absolute difference that noise alone leaves between two images.

    Reading between pixels blends four of them and their noise, so that half a pixel looks like a
    better match than none where there is nothing but noise.

    Args:
        noise: Standard deviation of the noise in either image.
        displacement: dx and dy in pixels at which the second image is read, bilinearly.
        clip: Differences count no more than this.
    """
    between = displacement - displacement.floor()
    left = (1 - 2 * between * (1 - between)).prod(dim=-1, keepdim=True)  # of the variance
    # exact at whole pixels and between four, and nearly a line in between
    share = ((1 + left).sqrt() - LEAST) / (MOST - LEAST)
    low, high = _clipped(LEAST * noise, clip), _clipped(MOST * noise, clip)
    return low + share * (high - low)


def _clipped(spread: Tensor, clip: float) -> Tensor:
    """Return the mean of min(abs(x), clip) of normal x of some standard deviation."""
    spread = spread / clip + 1e-4
    inside = spread * math.sqrt(2 / math.pi) * (1 - (-0.5 / spread.square()).exp())
    return clip * (inside + torch.erfc(math.sqrt(0.5) / spread))
