"""Smooth noise and blends of colours: what everything here is painted with."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Picture = NDArray[np.uint8]
Points = Sequence[tuple[float, float]] | Array
Color = tuple[float, float, float]


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 4,
    wide: float = 1,
) -> Array:
    """Return smooth noise of mean 0 and deviation 1, (height, width).

    Args:
        rng: Source of the randomness.
        height: Rows.
        width: Columns.
        cell: Size of the coarsest blobs in pixels; each further octave halves it.
        octaves: How many.
        wide: How much wider than high a blob is.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1)
        shape = (int(height / step) + 3, int(width / step / wide) + 3)
        grid = rng.standard_normal(shape, dtype=np.float32) * 0.6**octave
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def mix(a: Array | Color, b: Array | Color, weight: Array | float) -> Array:
    """Blend colours: ``a`` at weight 0 and ``b`` at weight 1; a (H, W) weight gives (H, W, 3)."""
    weight = np.asarray(weight, np.float32)[..., None]
    return np.asarray(a, np.float32) * (1 - weight) + np.asarray(b, np.float32) * weight


def smoothstep(x: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)
