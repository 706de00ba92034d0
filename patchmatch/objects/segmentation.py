"""Which pixels of a frame show things: the frame against its predecessor and against the memory."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.carried_memory import CarriedMemory, carry_planes
from patchmatch.objects.ghosts import MIN_SHARE, edge_strength, ghost_share
from patchmatch.objects.light import frame_gain, is_shadow
from patchmatch.objects.memory import Array, Mask, Planes, SceneMemory
from patchmatch.objects.regions import label_regions

STRONG = 1.8  # times the threshold of the memory: background hardly ever differs so much
MIN_STRONG = 0.1  # share of the pixels of a region that must differ so much
MIN_CHANGE, NOISE_CHANGE = 10.0, 4.0  # gray levels, and noise, from one frame to the next
STILL_FRAMES = 2  # frames without a change after which a ghost heals
NOISE_RATE = 0.1  # weight of a frame in the estimate of the noise
RATE = 0.02  # weight of a frame in the mean of the background, after the first frames
CUT_SHARE = 0.6  # of the frame that differs after a cut or a flash
CUT_TILES = 8  # along each side; most of them change at a cut
MIN_CUT_TILES, MIN_CUT_CHANGE = 0.5, 0.1  # share of tiles, and of the pixels of each
MIN_CUT_SHARE = 0.3  # of the frame that differs after such a change
CUT_FRAMES = 3  # frames for which the scene must be another one until the memory starts anew
SMALL = 480  # pixels: in frames with no longer side, small parts count
MAX_HOLE = 0.01  # of the frame: larger holes of a region are not filled
MIN_PIXELS = 20  # of a region before it is followed
FORGET_STATIC, FORGET_THING = 5.0, 60.0  # seconds until what rests joins the background
_ELEMENT = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Segmentation:
    """Which pixels of a frame show things.

    Attributes:
        mask: (H, W) uint8, 255 where they do.
        strength: (H, W) float32, the distance from the memory in units of its threshold.
        planes: (C, H, W) uint8, the frame in the light of the memory, slightly smoothed.
        rests: (H, W) bool, where the last frames do not differ.
        is_cut: Whether the memory started anew with this frame.
        is_other: Whether the frame shows another scene than the memory: a flash, or after a cut.
    """

    mask: Mask
    strength: Array
    planes: Planes
    rests: NDArray[np.bool_]
    is_cut: bool = False
    is_other: bool = False


class Segmenter:
    """Finds things in the frames of a video, one after the other.

    Args:
        shadows: Whether to leave out shadows.
        fps: Frames per second.

    Attributes:
        moving_camera: Whether the memory is carried along with the camera. Setting it takes effect
            when the memory starts anew.
    """

    def __init__(self, shadows: bool = True, fps: float = 25.0) -> None:
        self.shadows, self.fps = shadows, fps
        self.moving_camera = False
        self._memory: SceneMemory | CarriedMemory | None = None
        self._noise = 2.0  # gray levels
        self._differing = 0  # frames since the scene became another one

    def restart(self) -> None:
        """Forget the scene."""
        self._memory = None

    def __call__(
        self,
        image: Array,
        protected: NDArray[np.bool_] | None = None,
        camera: NDArray[np.float64] | None = None,
    ) -> Segmentation:
        """Find the things in the next frame.

        Args:
            image: (H, W) or (H, W, 3) uint8, of the size of the frame before.
            protected: (H, W), where things are followed that must not join the background soon.
            camera: (3, 3), takes points of the frame before to this one; None if it stands still.
        """
        image = cv2.GaussianBlur(image, (3, 3), 0)
        planes = np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))
        if self._memory is None:
            return self._start(planes)
        if camera is not None:
            self._carry(camera)
        memory = self._memory
        gain = frame_gain(planes, memory.background)
        if np.abs(gain - 1).max() > 0.01:
            planes = np.stack(
                [
                    cv2.convertScaleAbs(p, alpha=1 / float(g))
                    for p, g in zip(planes, gain, strict=True)
                ]
            )
        changed = self._changed(planes)
        distance = memory.distance(planes)
        strength = distance / memory.threshold(self._noise)
        is_small = max(planes.shape[1:]) <= SMALL
        strength = cv2.GaussianBlur(
            strength, (3, 3) if is_small else (5, 5), 0.5 if is_small else 1.0
        )
        weak = (strength > 1).astype(np.uint8) * 255
        strong = (strength > STRONG).astype(np.uint8) * 255
        share = cv2.countNonZero(weak) / weak.size
        jumps = self._differing > 0 or _is_everywhere(changed)
        if share > CUT_SHARE or (share > MIN_CUT_SHARE and jumps):
            return self._differs(planes, strength)
        self._differing = 0
        if self.shadows:
            shadow = is_shadow(planes, memory.background, self._noise)
            weak[shadow > 0] = 0
            strong[shadow > 0] = 0
        mask = _clean(weak, strong, 3 if is_small else 5)
        mask = self._heal(planes, mask, protected)
        still = cv2.bitwise_not(cv2.dilate(cv2.bitwise_or(mask, strong), _ELEMENT))
        self._frames += 1
        memory.learn(planes, distance, still, max(RATE, 1 / self._frames))
        self._previous = planes
        return Segmentation(mask, strength, planes, self._age >= STILL_FRAMES)

    def _start(self, planes: Planes) -> Segmentation:
        self._memory = CarriedMemory(planes) if self.moving_camera else SceneMemory(planes)
        self._previous = planes
        height, width = planes.shape[1:]
        self._age = np.zeros((height, width), np.uint8)  # frames since a pixel changed, to 255
        self._rest = np.zeros((height, width), np.float32)  # frames that a thing has been at rest
        self._frames, self._differing = 1, 0
        nothing = np.zeros((height, width), np.uint8)
        return Segmentation(nothing, nothing.astype(np.float32), planes, nothing > 0, is_cut=True)

    def _carry(self, camera: NDArray[np.float64]) -> None:
        """Bring memory and predecessor to where the camera looks now."""
        assert isinstance(self._memory, CarriedMemory)
        self._memory.carry(camera)
        size = self._age.shape[::-1]
        self._previous = carry_planes(self._previous, camera)
        self._age = cv2.warpPerspective(self._age, camera, size, flags=cv2.INTER_NEAREST)
        self._rest = cv2.warpPerspective(self._rest, camera, size, flags=cv2.INTER_NEAREST)

    def _changed(self, planes: Planes) -> NDArray[np.bool_]:
        """Update the noise and the time since each pixel changed; return which change now."""
        width = planes.shape[2]
        change = cv2.absdiff(planes.reshape(-1, width), self._previous.reshape(-1, width))
        largest = change.reshape(planes.shape)[0]
        for plane in change.reshape(planes.shape)[1:]:
            largest = cv2.max(largest, plane)
        # Median of the largest of the channels: about 1.4 standard deviations of one of them.
        noise = float(np.median(largest[::4, ::4])) / 1.4
        noise = min(noise, 2 * self._noise + 1)  # a flash is no noise
        self._noise += NOISE_RATE * (noise - self._noise)
        self._age += self._age < 255
        changed = largest > MIN_CHANGE + NOISE_CHANGE * self._noise
        self._age[changed] = 0
        return changed

    def _differs(self, planes: Planes, strength: Array) -> Segmentation:
        """Handle a frame of another scene: a flash is passed over, a cut starts the memory anew."""
        self._differing += 1
        if self._differing >= CUT_FRAMES:
            return self._start(planes)
        self._previous = planes
        nothing = np.zeros(planes.shape[1:], np.uint8)
        return Segmentation(nothing, strength, planes, nothing > 0, is_other=True)

    def _heal(self, planes: Planes, mask: Mask, protected: NDArray[np.bool_] | None) -> Array:
        """Let ghosts, and what has rested for long, join the background."""
        memory = self._memory
        assert memory is not None
        rests = self._age >= STILL_FRAMES
        share = ghost_share(mask, edge_strength(planes), edge_strength(memory.background))
        joins = (share > MIN_SHARE) & (mask > 0) & rests
        self._rest = np.where((mask > 0) & rests, self._rest + 1, np.float32(0))
        joins |= self._rest > FORGET_STATIC * self.fps
        if protected is not None:
            joins &= ~protected
            joins |= _whole_ghosts(mask, share, rests)
        joins |= self._rest > FORGET_THING * self.fps
        healed = joins.astype(np.uint8) * 255
        if not healed.any():
            return mask
        memory.learn_at_once(planes, cv2.dilate(healed, _ELEMENT))
        return cv2.subtract(mask, healed)


def _is_everywhere(changed: NDArray[np.bool_]) -> bool:
    """Return whether the frame changes in most of its tiles at once, unlike behind one thing."""
    tiles = (CUT_TILES, CUT_TILES)
    share = cv2.resize(changed.astype(np.float32), tiles, interpolation=cv2.INTER_AREA)
    return float((share > MIN_CUT_CHANGE).mean()) > MIN_CUT_TILES


def _clean(weak: Mask, strong: Mask, side: int) -> Mask:
    """Return the regions of ``weak`` of some size that contain some of ``strong``."""
    weak = cv2.morphologyEx(cv2.medianBlur(weak, side), cv2.MORPH_CLOSE, _ELEMENT)
    labels, stats = label_regions(weak)
    area = stats[:, cv2.CC_STAT_AREA]
    kept = np.bincount(labels[strong > 0], minlength=len(stats)) > MIN_STRONG * area
    kept &= area >= MIN_PIXELS
    kept[0] = False
    return _filled((kept.astype(np.uint8) * 255)[labels])


def _filled(mask: Mask) -> Mask:
    """Fill the small holes of a mask."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return mask
    is_hole = hierarchy[0, :, 3] >= 0  # it has a parent
    holes = [c for c, hole in zip(contours, is_hole, strict=True) if hole]
    small = [c for c in holes if cv2.contourArea(c) < MAX_HOLE * mask.size]
    return cv2.drawContours(mask, small, -1, 255, cv2.FILLED) if small else mask


def _whole_ghosts(mask: Mask, share: Array, rests: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the regions that are ghosts as a whole and without motion."""
    labels, stats = label_regions(mask)
    inside = mask > 0
    where, count, area = labels[inside], len(stats), stats[:, cv2.CC_STAT_AREA]
    ghost = np.bincount(where, share[inside], count) > MIN_SHARE * area
    ghost &= np.bincount(where, rests[inside], count) > 0.9 * area
    ghost[0] = False
    return ghost[labels] if ghost.any() else np.zeros(mask.shape, bool)
