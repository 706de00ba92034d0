"""The herd: who stands where and walks how."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchmatch.frames.cows.cow import MARGIN, Cow, draw_cow
from patchmatch.frames.cows.pasture import HORIZON

AREA_PER_COW = 49_000  # square pixels: nine cows at 768 x 576
COW_WIDTH = (122, 168)  # pixels from tail to muzzle, at the far end of the pasture and at the near
VELOCITIES = ((1, 0), (-3, 0), (0, 0), (2, 0), (-1, 0), (5, 0), (1, 1), (0, 0), (-2, 0))
MOST_COWS = 254  # labels are bytes: 0 is the ground, 255 is undecided


@dataclass(frozen=True)
class Place:
    """Where a cow starts, its length in pixels, its velocity and the box (xyxy) of all its way."""

    start: NDArray[np.int64]
    size: int
    velocity: NDArray[np.int64]
    way: NDArray[np.int64]


def _propose_place(
    velocity: NDArray[np.int64], span: int, height: int, width: int, rng: np.random.Generator
) -> Place:
    """Return a random place from which a cow stays inside the picture for ``span`` steps."""
    near = rng.uniform()
    size = round(COW_WIDTH[0] + (COW_WIDTH[1] - COW_WIDTH[0]) * near)
    box = np.array((size, round(0.66 * size)))
    travel = velocity * span
    far_foot = (HORIZON + 0.17) * height  # well in front of the fence
    low = np.array((5, max(far_foot - box[1], 0))) - travel.clip(max=0)
    high = np.array((width - 5, height - 8)) - box - travel.clip(min=0)
    at = np.array((rng.uniform(), near))  # the nearer, the larger and the lower in the picture
    start = (low + at * (high - low).clip(min=0)).round().astype(np.int64)
    end = start + travel
    way = np.concatenate([np.minimum(start, end), np.maximum(start, end) + box])
    return Place(start, size, velocity, way)


def _crowding(place: Place, other: Place) -> float:
    """Return how much two ways are in each other's way: overlap counts most, nearness a little."""
    a, b = place.way, other.way
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(min=0).prod()
    smaller = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    apart = np.abs(a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(10 * common / smaller + np.exp(-np.hypot(*(apart / (150, 90)))))


def place_herd(
    frames: int, height: int, width: int, seed: int, pond: NDArray[np.bool_]
) -> list[Place]:
    """Find a place for every cow; their number grows with the area.

    Each takes the best of many random places: off the pond, and out of the others' ways.

    Args:
        frames: Frames of the sequence; the cows stay in the picture for the first twelve.
        height: Rows of the picture.
        width: Columns of the picture.
        seed: Seed of the sequence.
        pond: (height, width), where no cow may stand.

    Returns:
        The places, the farthest first.
    """
    count = min(max(round(height * width / AREA_PER_COW), 2), MOST_COWS)
    span = min(frames, 12) - 1
    rng = np.random.default_rng([seed, 2])
    herd: list[Place] = []
    for k in range(count):
        velocity = np.array(VELOCITIES[k % len(VELOCITIES)])
        costs, places = [], []
        for _ in range(240):
            place = _propose_place(velocity, span, height, width, rng)
            left, _, right, foot = place.way
            wet = pond[max(foot - 14, 0) : foot + 5, left:right].mean()
            costs.append(20 * float(wet) + sum(_crowding(place, other) for other in herd))
            places.append(place)
        herd.append(places[int(np.argmin(costs))])
    return sorted(herd, key=lambda place: (int(place.way[3]), int(place.way[0])))


def draw_herd(herd: Sequence[Place], seed: int) -> tuple[list[Cow], list[NDArray[np.int64]]]:
    """Return a sprite for every place, and the sprite's top-left corner in frame 0."""
    cows, corners = [], []
    for k, place in enumerate(herd):
        rng = np.random.default_rng([seed, 3, k])
        walks = bool(place.velocity.any())
        left = place.velocity[0] < 0 or (not walks and bool(rng.integers(2)))
        grazing = rng.uniform() < (0.75, 0.4, 0)[min(int(np.abs(place.velocity).max()), 2)]
        cows.append(draw_cow(place.size, left, grazing, walks, rng))
        margin = np.round(np.array(MARGIN) * place.size / 150).astype(np.int64)
        margin[0] = margin[0] if not left else cows[-1].alpha.shape[1] - place.size - margin[0]
        corners.append(place.start - margin)
    return cows, corners
