"""Positions and velocities of the cows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchmatch.frames.cows.cow import MARGIN, Cow, draw_cow
from patchmatch.frames.cows.pasture import HORIZON

AREA_PER_COW = 49_000  # square pixels: nine cows at 768 x 576
COW_WIDTH = (122, 168)  # pixels from tail to muzzle, far and near
VELOCITIES = ((1, 0), (-3, 0), (0, 0), (2, 0), (-1, 0), (5, 0), (1, 1), (0, 0), (-2, 0))
MAX_COWS = 254  # labels are bytes: 0 is the background, 255 is ignored


@dataclass(frozen=True, kw_only=True)
class CowPath:
    """Path of a cow.

    Attributes:
        start: Top-left corner in frame 0, x and y in pixels.
        size: Length of the cow in pixels.
        velocity: dx and dy in pixels per frame.
        extent: Bounding box of the whole path, xyxy.
    """

    start: NDArray[np.int64]
    size: int
    velocity: NDArray[np.int64]
    extent: NDArray[np.int64]


def _random_path(
    velocity: NDArray[np.int64], span: int, height: int, width: int, rng: np.random.Generator
) -> CowPath:
    """Return a random path that stays inside the frame for ``span`` steps."""
    near = rng.uniform()
    size = round(COW_WIDTH[0] + (COW_WIDTH[1] - COW_WIDTH[0]) * near)
    box = np.array((size, round(0.66 * size)))
    travel = velocity * span
    far_foot = (HORIZON + 0.17) * height  # in front of the fence
    low = np.array((5, max(far_foot - box[1], 0))) - travel.clip(max=0)
    high = np.array((width - 5, height - 8)) - box - travel.clip(min=0)
    position = np.array((rng.uniform(), near))  # near cows are larger and lower in the frame
    start = (low + position * (high - low).clip(min=0)).round().astype(np.int64)
    end = start + travel
    extent = np.concatenate([np.minimum(start, end), np.maximum(start, end) + box])
    return CowPath(start=start, size=size, velocity=velocity, extent=extent)


def _crowding_cost(path: CowPath, other: CowPath) -> float:
    """Return the cost of two paths: their overlap plus a small proximity term."""
    a, b = path.extent, other.extent
    overlap = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(min=0).prod()
    smaller = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    distance = np.abs(a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(10 * overlap / smaller + np.exp(-np.hypot(*(distance / (150, 90)))))


def arrange_herd(
    frames: int, height: int, width: int, seed: int, pond: NDArray[np.bool_]
) -> list[CowPath]:
    """Choose a path for each cow; the number of cows is proportional to the area.

    Each path is the best of 240 random ones: outside the pond and away from the other cows.

    Args:
        frames: Frames of the sequence; the cows stay inside the frame for the first twelve.
        height: Rows of a frame.
        width: Columns of a frame.
        seed: Seed of the sequence.
        pond: (height, width) bool, the pixels of the pond.

    Returns:
        The paths from far to near.
    """
    count = min(max(round(height * width / AREA_PER_COW), 2), MAX_COWS)
    span = min(frames, 12) - 1
    rng = np.random.default_rng([seed, 2])
    herd: list[CowPath] = []
    for k in range(count):
        velocity = np.array(VELOCITIES[k % len(VELOCITIES)])
        costs, paths = [], []
        for _ in range(240):
            path = _random_path(velocity, span, height, width, rng)
            left, _, right, foot = path.extent
            wet = pond[max(foot - 14, 0) : foot + 5, left:right].mean()
            costs.append(20 * float(wet) + sum(_crowding_cost(path, other) for other in herd))
            paths.append(path)
        herd.append(paths[int(np.argmin(costs))])
    return sorted(herd, key=lambda path: (int(path.extent[3]), int(path.extent[0])))


def draw_herd(herd: Sequence[CowPath], seed: int) -> tuple[list[Cow], list[NDArray[np.int64]]]:
    """Return the sprite of each cow, and its top-left corner in frame 0."""
    cows, corners = [], []
    for k, path in enumerate(herd):
        rng = np.random.default_rng([seed, 3, k])
        walks = bool(path.velocity.any())
        left = path.velocity[0] < 0 or (not walks and bool(rng.integers(2)))
        grazing = rng.uniform() < (0.75, 0.4, 0)[min(int(np.abs(path.velocity).max()), 2)]
        cows.append(draw_cow(path.size, left, grazing, walks, rng))
        margin = np.round(np.array(MARGIN) * path.size / 150).astype(np.int64)
        margin[0] = margin[0] if not left else cows[-1].alpha.shape[1] - path.size - margin[0]
        corners.append(path.start - margin)
    return cows, corners
