"""Features of frames on a pyramid, and the exhaustive search on its coarsest level."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion.noise import noise_level
from patchmatch.motion.search import best_candidates, cost_volume
from patchmatch.ops.contrast import local_contrast_and_gain
from patchmatch.ops.pyramid import pyramid

WINDOW = 11  # pixels: side of the window of local contrast normalisation
SOFTENING = 0.014  # added to the standard deviation, so that noise in plain areas stays small
NOISE_TILE = 4  # pixels: side of the tiles of the noise map
CLIP = 1.0  # local standard deviations: upper limit of a difference
# Times the noise, subtracted from the cost of zero motion: the least of many costs is accidental.
ZERO_MOTION_CREDIT = 0.25


class PyramidLevel(NamedTuple):
    """Features of frames on one level of the pyramid.

    Attributes:
        normalized: (B, H, W), images after local contrast normalisation.
        noise: (B, ceil(H / 4), ceil(W / 4)), standard deviation of their noise in tiles of 4x4
            pixels.
    """

    normalized: Float[Tensor, "B H W"]
    noise: Float[Tensor, "B _ _"]

    def frames(self, which: slice) -> "PyramidLevel":
        """Return the features of some of the frames."""
        return PyramidLevel(*(values[which] for values in self))


Features = list[PyramidLevel]  #: on all levels, full resolution first


def extract_features(frames: Tensor, levels: int) -> Features:
    """Return the features of frames on every level, full resolution first.

    Args:
        frames: (B, 1, H, W), gray in [0, 1].
        levels: Number of levels.
    """
    noise = noise_level(frames)
    features = []
    for level, image in enumerate(pyramid(frames, levels)):
        normalized, gain = local_contrast_and_gain(image, WINDOW, SOFTENING)
        height, width = image.shape[-2:]
        beyond = 0, -width % NOISE_TILE, 0, -height % NOISE_TILE
        gain = F.avg_pool2d(F.pad(gain, beyond, mode="replicate"), NOISE_TILE)[:, 0]
        features.append(PyramidLevel(normalized[:, 0], gain * (noise[:, None, None] / 2**level)))
    return features


def search(
    features0: PyramidLevel,
    features1: PyramidLevel,
    shape: torch.Size,
    block: int,
    radius: int,
    count: int,
) -> Tensor:
    """Return the best candidates of an exhaustive search, (B, R, C, count, 2).

    Args:
        features0: The earlier frames on the coarsest level.
        features1: The later frames on the coarsest level.
        shape: (B, R, C), the grid of blocks.
        block: Side of a block in pixels of the level.
        radius: Largest displacement in x and y, in pixels of the level.
        count: Number of candidates.
    """
    normalized0, normalized1 = (level.normalized[:, None] for level in (features0, features1))
    volume = cost_volume(normalized0, normalized1, block, radius, CLIP, shape)
    starts = (
        (torch.arange(number, device=normalized0.device) * block).clamp_max(length - block)
        for number, length in zip(shape[1:], normalized0.shape[2:], strict=True)
    )
    row, column = ((start + block // 2) // NOISE_TILE for start in starts)  # tiles of the centres
    zero_motion_credit = ZERO_MOTION_CREDIT * features0.noise[:, row[:, None], column]
    return best_candidates(volume, count, zero_motion_credit).unflatten(0, shape)
