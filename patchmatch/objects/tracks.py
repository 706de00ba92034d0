"""A track: where a thing is, how it moves, and where it is expected next."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.displacement import carried

YOUNG = 5  # frames for which the box of a track is the box of its pixels
SETTLED = 15  # frames after which its size is known
MAX_STEP_PIXELS, MAX_STEP_SHARE = 3.0, 0.04  # that a side of a box may correct, and of its length
VELOCITY_GAIN = 0.35  # weight of the last frame
PART_GAIN = 0.5  # of a correction if only a part of the thing is seen alone
AREA_GAIN = 0.1
HIDDEN_AREA_GAIN = 0.05
DAMPING = 0.95  # of the velocity per frame in which nothing is seen
HIDDEN = 0.6  # of its usual area: with less, a thing is partly hidden and keeps its size
BORDER = 4  # pixels: at the border of the frame a thing grows or shrinks at once
MIN_TRAVEL_PIXELS, MIN_TRAVEL_SHARE = 4.0, 0.15  # of a thing, and of its shorter side
MIN_DISPLACEMENT = 0.15  # pixels: smaller ones of a frame do not count as travel

Box = NDArray[np.float64]  #: (4,) xyxy in pixels, half-open


@dataclass
class Track:
    """A thing that is followed.

    Attributes:
        number: Its number, from 1.
        box: Where it is, hidden parts included.
        area: Its usual number of pixels.
        velocity: dx and dy per frame, smoothed, against the scene.
        motion: dx and dy of its pixels from the last frame to this one; None if unknown.
        hits: Frames in which it was seen.
        missed: Frames since it was seen.
        alone: Frames in which it touched neither another thing nor the border of the frame.
        parted: Frames for which a part has been apart from the rest.
        inside: Frames for which it has touched a larger thing, inside its box.
        moved: Whether it has moved, not only changed: then it is a thing.
        visible: Its pixels in this frame.
        strength: Mean distance of its pixels from the memory in units of its threshold.
        points: (N, 2), x and y of some of its pixels; None before it is seen.
        at_border: (4,) which sides of the box are at the border of the frame.
        enters: Whether it has touched the border in all frames so far.
    """

    number: int
    box: Box
    area: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    motion: NDArray[np.float64] | None = None
    hits: int = 1
    missed: int = 0
    alone: int = 0
    parted: int = 0
    inside: int = 0
    moved: bool = False
    visible: int = 0
    strength: float = 0.0
    points: NDArray[np.intp] | None = None
    at_border: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(4, bool))
    enters: bool = True
    _start: NDArray[np.float64] = field(init=False)
    _travel: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def __post_init__(self) -> None:
        self._start = self.center

    @property
    def center(self) -> NDArray[np.float64]:
        """X and y of the center of its box."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def size(self) -> NDArray[np.float64]:
        """Width and height of its box."""
        return self.box[2:] - self.box[:2]

    @property
    def step(self) -> NDArray[np.float64]:
        """Dx and dy by which it is expected to move."""
        return self.velocity if self.motion is None or self.hits < YOUNG else self.motion

    @property
    def expected(self) -> Box:
        """Where it is expected in the next frame; what enters the frame grows at the border."""
        step = np.tile(self.step, 2)
        inward = step * (1, 1, -1, -1) > 0
        return self.box + np.where(self.at_border & inward, 0, step)

    def carry(self, camera: NDArray[np.float64]) -> None:
        """Move it with the scene, by a homography from the frame before to this one."""
        self.box = self.box + np.tile(carried(self.center, camera) - self.center, 2)
        self._start = carried(self._start, camera)
        if self.points is not None:
            self.points = np.rint(carried(self.points, camera)).astype(np.intp)

    def miss(self) -> None:
        """Move on where it is not seen."""
        self.missed += 1
        self.visible = 0
        self.box = self.expected
        self.velocity = self.velocity * DAMPING

    def see(
        self, measured: Box, area: int, shape: tuple[int, ...], free: NDArray[np.bool_] | None
    ) -> None:
        """Move to where it is seen.

        The sides of the box follow those that are measured, by some pixels at most. If only a part
        of the thing is seen, the box keeps its size.

        Args:
            measured: Box of its pixels.
            area: Their number.
            shape: Height and width of the frame.
            free: Which sides of the box are not determined by another thing that it touches; None
                if it touches none.
        """
        expected, step = self.expected, self.step
        innovation = measured - expected
        at_border = sides_at_border(expected, shape)
        # What leaves the frame is not hidden: its box shrinks.
        hidden = self.hits >= SETTLED and area < HIDDEN * self.area and not at_border.any()
        if self.hits < YOUNG and free is None:
            center = (measured[:2] + measured[2:]) / 2 - self.center
            self.velocity = center if self.hits == 1 else (self.velocity + center) / 2
            self.box = measured
        else:
            limit = MAX_STEP_PIXELS + MAX_STEP_SHARE * np.tile(self.size, 2)
            correction = innovation.clip(-limit, limit)
            if free is not None or hidden:
                shift = PART_GAIN * self._shift(correction, free)
                self.box, moved = expected + np.tile(shift, 2), step + shift
                if free is not None:
                    self.box = np.where(at_border & free, measured, self.box)
            else:
                correction = np.where(at_border, innovation, correction)
                self.box = expected + correction
                inner = np.where(at_border, 0, correction).reshape(2, 2)
                moved = step + inner.sum(0) / np.maximum((~at_border).reshape(2, 2).sum(0), 1)
            moved = moved if self.motion is None else self.motion
            self.velocity = self.velocity + VELOCITY_GAIN * (moved - self.velocity)
        if (self.size < 2).any():
            self.box = measured
        self.touch_border(shape)
        if free is None:
            self.alone += not self.enters
            gain = 0.5 if self.hits < YOUNG else HIDDEN_AREA_GAIN if hidden else AREA_GAIN
            self.area += gain * (area - self.area)
        self.hits, self.missed = self.hits + 1, 0
        if self.motion is not None and np.hypot(*self.motion) > MIN_DISPLACEMENT:
            self._travel = self._travel + self.motion
        far = max(MIN_TRAVEL_PIXELS, MIN_TRAVEL_SHARE * float(self.size.min()))
        away = float(np.hypot(*(self.center - self._start)))
        self.moved |= away > far and float(np.hypot(*self._travel)) > far

    def touch_border(self, shape: tuple[int, ...]) -> None:
        """Note which sides of its box are at the border of a frame."""
        self.at_border = sides_at_border(self.box, shape)
        self.enters &= bool(self.at_border.any())

    def _shift(
        self, correction: NDArray[np.float64], free: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """Return by how much a box of known size is displaced, from the sides that are seen."""
        pairs = correction.reshape(2, 2)
        if free is None:  # the side that is nearer to where it was expected is not hidden
            return pairs[np.abs(pairs).argmin(axis=0), [0, 1]]
        seen = free.reshape(2, 2)
        return (pairs * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def sides_at_border(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which sides of a box, (4,), are at the border of a frame of height and width."""
    near = box - BORDER < 0
    far = box + BORDER > np.tile(shape[1::-1], 2)
    return np.concatenate([near[:2], far[2:]])
