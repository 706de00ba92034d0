"""The steps of ``levels`` by compiled loops."""

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.kernels.compiling import ahead, run, shares
from patchmatch.kernels.contrast import CELL, even_contrast, halve
from patchmatch.kernels.noise import noise_levels
from patchmatch.kernels.search import block_costs, deepest_minima
from patchmatch.nets.levels import AROUND, CLIP, CREDIT, SOFTENING, Level
from patchmatch.ops.noise import (
    BRIGHT,
    DARK,
    DEVIATION,
    EDGE,
    QUANTISED,
    QUIET,
    SPARSE,
    SQUARE,
    tile_grid,
)


def describe(frames: Tensor, levels: int) -> list[Level]:
    """As that of ``levels``, some of the frames by each thread."""
    batch, _, height, width = frames.shape
    described = []
    for _ in range(levels):
        even = frames.new_empty(batch, height, width)
        described.append(
            Level(even, frames.new_empty(batch, -(-height // CELL), -(-width // CELL)))
        )
        height, width = -(-height // 2), -(-width // 2)
    first, *rest = [
        (frames[part, 0].contiguous(), [level.frames(part) for level in described])
        for part in shares(batch)
    ]
    others = [ahead(_describe, *group) for group in rest]
    _describe(*first)
    for finish in others:
        finish()
    return described


def _describe(image: Tensor, described: list[Level]) -> None:
    """Write all levels of images (B, H, W)."""
    noise = _noise(image)
    for level, (even, loud) in enumerate(described):
        if level:
            whole, image = image, torch.empty_like(even)
            run(halve, whole, image)
        run(even_contrast, image, (0,) * AROUND, SOFTENING, noise / 2**level, even, loud)


def _noise(image: Tensor) -> Tensor:
    """As ``noise_level``, of (B, H, W)."""
    noise, (sums, counts) = image.new_empty(len(image)), image.new_empty(2, 2, SQUARE)
    limits = np.array([DARK, BRIGHT], np.float32)
    run(
        noise_levels, image, *tile_grid(*image.shape[1:]), limits, QUIET, DEVIATION, SPARSE, EDGE,
        QUANTISED, sums, counts, noise,
    )  # fmt: skip
    return noise


def search(
    described0: Level, described1: Level, shape: torch.Size, block: int, radius: int, count: int
) -> Tensor:
    """As that of ``levels``."""
    padded = F.pad(described1.even[:, None], (radius,) * 4, mode="replicate")[:, 0]
    cost = padded.new_empty(*shape, (2 * radius + 1) ** 2)
    noise = described0.noise.contiguous()
    run(block_costs, described0.even, padded, block, CLIP, noise, CELL, CREDIT, cost)
    best = cost.new_empty(*shape, count, 2)
    run(deepest_minima, cost, _lengths(radius), best.flatten(0, 2))
    return best


@functools.cache
def _lengths(radius: int) -> np.ndarray:
    """Return what is added to costs, (D,): among equal ones the shortest displacement is sought."""
    axis = np.arange(-radius, radius + 1)
    return 1e-4 * np.hypot(axis[:, None], axis).ravel().astype(np.float32)
