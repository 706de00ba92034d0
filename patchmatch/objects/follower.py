"""Things followed through a video, one frame after the other."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.camera import Camera, MeasureMotion, reduced
from patchmatch.objects.memory import Array
from patchmatch.objects.segmentation import Segmenter
from patchmatch.objects.tracker import Tracker
from patchmatch.objects.tracks import YOUNG, Track

MIN_AREA_SHARE = 3e-4  # of the frame: the smallest thing
MIN_AREA = 20  # pixels
LOST_SECONDS = 1.0  # for which a hidden thing is remembered
SHOWN_MISSED = 2  # frames for which a thing that is not seen is still listed


@dataclass(frozen=True)
class FollowedThing:
    """A thing in a frame.

    Attributes:
        track: Its number.
        box: (4,) xyxy in pixels, half-open, hidden parts included.
        displacement: dx and dy from the frame before, against the scene.
        area: Its pixels; 0 where it is not seen.
        strength: Mean distance from the memory in units of its threshold.
    """

    track: int
    box: NDArray[np.float64]
    displacement: NDArray[np.float64]
    area: int
    strength: float


@dataclass(frozen=True)
class FollowedFrame:
    """The things of a frame.

    Attributes:
        things: The things, those included that have not moved so far.
        labels: (H, W) int32, the number of the track at each pixel, 0 for none.
        moved: Numbers of the tracks that have moved since they were first seen.
        camera: (3, 3), takes points of the frame before to this one; None if the camera is still.
    """

    things: list[FollowedThing]
    labels: NDArray[np.int32]
    moved: frozenset[int]
    camera: NDArray[np.float64] | None


class Follower:
    """Follows the things in a video.

    Args:
        measure: Measures the displacements of blocks, for the motion of the camera.
        camera: Whether the camera moves; None finds out.
        shadows: Whether to leave out shadows.
        min_area: Pixels of the smallest thing; None for a share of the frame.
        max_size: Longest side in pixels to which frames are reduced.
        fps: Frames per second.
    """

    def __init__(
        self,
        measure: MeasureMotion,
        camera: bool | None = None,
        shadows: bool = True,
        min_area: int | None = None,
        max_size: int = 800,
        fps: float = 25.0,
    ) -> None:
        self._camera = Camera(measure, camera)
        self._segmenter = Segmenter(shadows, fps)
        self._segmenter.moving_camera = self._camera.moves
        self._min_area, self._max_size = min_area, max_size
        self._tracker = Tracker(MIN_AREA, max(1, round(LOST_SECONDS * fps)))
        self._shape: tuple[int, ...] | None = None
        self._before: Array | None = None

    @property
    def camera_moves(self) -> bool:
        """Whether the camera moves, as far as known."""
        return self._camera.moves

    @property
    def camera_problem(self) -> str | None:
        """Why the motion of the camera was not found for the last frame; None if it was."""
        if self._camera.too_small:
            return (
                "the frames are too small to measure the motion of the camera; it counts as still"
            )
        if self._camera.lost:
            return (
                "the motion of the camera is lost in some frames, because most of the frame does "
                "not move as one; objects begin anew there"
            )
        return None

    def __call__(self, image: Array) -> FollowedFrame:
        """Follow the things into the next frame, (H, W) or (H, W, 3) uint8."""
        scale = min(1.0, self._max_size / max(image.shape[:2]))
        if image.shape != self._shape:
            self._begin(image.shape, scale)
        small = reduced(image, scale)
        camera = self._camera(small)
        segmenter = self._segmenter
        if self._camera.lost or self._camera.moves != segmenter.moving_camera:
            segmenter.moving_camera = self._camera.moves
            segmenter.restart()
            if self._before is None or self._camera.lost:
                camera = None
            else:
                segmenter(self._before)
        self._before = small
        frame = segmenter(small, self._protected(small.shape), camera)
        if frame.is_cut:
            self._tracker.restart()
        self._tracker(frame, camera)
        shown = [t for t in self._tracker.tracks if t.missed <= SHOWN_MISSED and not frame.is_other]
        labels = self._tracker.labels
        height, width = image.shape[:2]
        things = [_thing(t, scale, width, height) for t in shown]
        if scale < 1:
            labels = cv2.resize(
                labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
            ).astype(np.int32)
            resize = np.diag([scale, scale, 1.0])
            camera = None if camera is None else np.linalg.inv(resize) @ camera @ resize
        return FollowedFrame(
            [thing for thing in things if (thing.box[2:] - thing.box[:2] >= 1).all()],
            labels,
            frozenset(t.number for t in self._tracker.tracks if t.moved),
            camera,
        )

    def _begin(self, shape: tuple[int, ...], scale: float) -> None:
        """Begin with frames of another size."""
        self._shape, self._before = shape, None
        self._segmenter.restart()
        self._tracker.restart()
        pixels = shape[0] * shape[1] * scale**2
        area = MIN_AREA_SHARE * pixels if self._min_area is None else self._min_area * scale**2
        self._tracker.min_area = max(MIN_AREA, round(area))

    def _protected(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return where things are that have moved: a pause does not make them background."""
        protected = np.zeros(shape[:2], bool)
        for track in self._tracker.tracks:
            if track.moved and track.hits > YOUNG:
                x0, y0, x1, y1 = np.rint(track.expected).astype(int).clip(0).tolist()
                protected[y0:y1, x0:x1] = True
        return protected


def _thing(track: Track, scale: float, width: int, height: int) -> FollowedThing:
    motion = track.velocity if track.motion is None else track.motion
    return FollowedThing(
        track=track.number,
        box=(track.box / scale).clip(0, [width, height, width, height]),
        displacement=motion / scale,
        area=round(track.visible / scale**2),
        strength=track.strength,
    )
