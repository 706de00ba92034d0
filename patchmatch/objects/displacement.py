"""How far a thing has moved: its pixels matched between two frames."""

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.memory import Planes

MAX_DIFFERENCE = 30  # gray levels of a channel, above which a pixel counts as hidden
MIN_POINTS = 16
GUESS_WEIGHT = 0.15  # gray levels per pixel by which the expected displacement is preferred


def displacement(
    before: Planes,
    after: Planes,
    points: NDArray[np.intp],
    expected: NDArray[np.float64],
    radius: int,
) -> NDArray[np.float64] | None:
    """Return the displacement with the smallest truncated sum of absolute differences.

    All displacements within ``radius`` are compared; a parabola through the minimum gives
    fractions of a pixel.

    Args:
        before: (C, H, W) uint8, the earlier frame.
        after: The later frame.
        points: (N, 2), x and y of pixels of the thing in the earlier frame.
        expected: dx and dy in the middle of the searched square.
        radius: Half the side of that square in pixels.

    Returns:
        dx and dy; None if too little of the thing is inside the frames.
    """
    height, width = after.shape[1:]
    points = points[((points >= 0) & (points < (width, height))).all(axis=1)]
    if len(points) < MIN_POINTS:
        return None
    steps = np.arange(-radius, radius + 1)
    first = np.rint(expected).astype(int)
    x = points[:, 0] + (first[0] + steps)[:, None]  # (S, N)
    y = points[:, 1] + (first[1] + steps)[:, None]
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]  # (S, S, N)
    index = y.clip(0, height - 1)[:, None] * width + x.clip(0, width - 1)[None]
    cost = np.zeros(index.shape, np.int16)
    for old, new in zip(before, after, strict=True):
        values = new.reshape(-1)[index].astype(np.int16)
        cost += np.abs(values - old[points[:, 1], points[:, 0]].astype(np.int16))
    cost = np.minimum(cost, MAX_DIFFERENCE * len(before))
    count = inside.sum(axis=2)
    mean = (cost * inside).sum(axis=2) / np.maximum(count, 1)
    mean = np.where(count > len(points) / 2, mean, np.inf)
    mean = mean + GUESS_WEIGHT * np.hypot(steps[:, None], steps)
    row, column = np.unravel_index(mean.argmin(), mean.shape)
    if not np.isfinite(mean[row, column]):
        return None
    padded = np.pad(mean, 1, constant_values=np.inf)[row : row + 3, column : column + 3]
    fraction = np.array([_vertex(padded[1]), _vertex(padded[:, 1])])
    return first + np.array([steps[column], steps[row]]) + fraction


def _vertex(values: NDArray[np.float64]) -> float:
    """Return where the parabola through three values at -1, 0 and 1 has its minimum."""
    curvature = values[0] + values[2] - 2 * values[1]
    if not np.isfinite(curvature) or curvature < 1e-6:
        return 0.0
    return float(0.5 * (values[0] - values[2]) / curvature)


def carried(points: NDArray[np.generic], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where points, (N, 2) or (2,), are after a motion of the camera."""
    flat = np.asarray(points, np.float64).reshape(1, -1, 2)
    return cv2.perspectiveTransform(flat, camera)[0].reshape(points.shape)
