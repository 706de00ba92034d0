"""Features of frames on a pyramid, and the search on its coarsest level."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion.noise import noise_level
from patchmatch.motion.search import best_candidates, cost_volume
from patchmatch.ops.contrast import local_contrast_and_gain
from patchmatch.ops.pyramid import pyramid

AROUND = 11  # pixels: side of the square in which contrast is made even
SOFTENING = 0.014  # of contrast: noise in a plain area stays small
NOISE_CELL = 4  # pixels: side of the cells by which noise is told
CLIP = 1.0  # local standard deviations: a difference counts no more
CREDIT = 0.25  # of the noise, taken from the cost of rest: the least of many costs is low


class Level(NamedTuple):
    """What is known of frames on a level of the pyramid.

    Attributes:
        even: (B, H, W), images of even contrast.
        noise: (B, ceil(H / 4), ceil(W / 4)), standard deviation of their noise in cells of 4x4
            pixels.
    """

    even: Float[Tensor, "B H W"]
    noise: Float[Tensor, "B _ _"]

    def frames(self, which: slice) -> "Level":
        """Return some of the frames."""
        return Level(*(values[which] for values in self))


def describe(frames: Tensor, levels: int) -> list[Level]:
    """Return every level of the frames.

    Args:
        frames: (B, 1, H, W), gray in [0, 1].
        levels: Number of levels.
    """
    noise = noise_level(frames)
    described = []
    for level, image in enumerate(pyramid(frames, levels)):
        even, gain = local_contrast_and_gain(image, AROUND, SOFTENING)
        height, width = image.shape[-2:]
        beyond = 0, -width % NOISE_CELL, 0, -height % NOISE_CELL
        gain = F.avg_pool2d(F.pad(gain, beyond, mode="replicate"), NOISE_CELL)[:, 0]
        described.append(Level(even[:, 0], gain * (noise[:, None, None] / 2**level)))
    return described


def search(
    described0: Level, described1: Level, shape: torch.Size, block: int, radius: int, count: int
) -> Tensor:
    """Return the best candidates of an exhaustive search, (B, R, C, count, 2).

    Args:
        described0: The earlier frames' smallest level.
        described1: That of the later ones.
        shape: (B, R, C), the grid of blocks.
        block: Side of a block in pixels of the level.
        radius: Reach in pixels.
        count: Number of candidates.
    """
    even0, even1 = (level.even[:, None] for level in (described0, described1))
    volume = cost_volume(even0, even1, block, radius, CLIP, shape)
    row, column = (  # the cells in the middle of the blocks
        ((torch.arange(number, device=even0.device) * block).clamp_max(length - block) + block // 2)
        // NOISE_CELL
        for number, length in zip(shape[1:], even0.shape[2:], strict=True)
    )
    credit = CREDIT * described0.noise[:, row[:, None], column]
    return best_candidates(volume, count, credit).unflatten(0, shape)
