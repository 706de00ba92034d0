"""Smooth noise and color blending."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Canvas = NDArray[np.uint8]
Points = Sequence[tuple[float, float]] | Array
Color = tuple[float, float, float]


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    size: float,
    octaves: int = 4,
    aspect: float = 1,
) -> Array:
    """Return smooth noise with zero mean and unit standard deviation, (height, width).

    Args:
        rng: Random generator.
        height: Rows.
        width: Columns.
        size: Size of the coarsest blobs in pixels; each further octave halves it.
        octaves: Number of octaves.
        aspect: Width of a blob divided by its height.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(size / 2**octave, 1)
        shape = (int(height / step) + 3, int(width / step / aspect) + 3)
        grid = rng.standard_normal(shape, dtype=np.float32) * 0.6**octave
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def mix(a: Array | Color, b: Array | Color, weight: Array | float) -> Array:
    """Blend colors: ``a`` at weight 0, ``b`` at weight 1; a (H, W) weight gives (H, W, 3)."""
    weight = np.asarray(weight, np.float32)[..., None]
    return np.asarray(a, np.float32) * (1 - weight) + np.asarray(b, np.float32) * weight


def smoothstep(x: Array, low: float, high: float) -> Array:
    """Interpolate smoothly from 0 at ``low`` to 1 at ``high``."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)
