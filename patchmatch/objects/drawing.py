"""Objects drawn on a frame: their boxes with numbers, and the ways they came."""

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.draw import Color, draw_boxes
from patchmatch.objects.results import FrameObjects

PATH_FRAMES = 50  # that the line behind an object shows
COLORS: tuple[Color, ...] = (
    *((230, 25, 75), (60, 180, 75), (255, 225, 25), (67, 99, 216), (245, 130, 49), (145, 30, 180)),
    *((66, 212, 244), (240, 50, 230), (191, 239, 69), (250, 190, 212), (70, 153, 144)),
    *((220, 190, 255), (154, 99, 36), (255, 250, 200), (128, 0, 0), (170, 255, 195)),
)  # distinct also for the color-blind, repeated after 16 tracks


class ObjectRenderer:
    """Draws the objects of one frame after the other.

    Args:
        line_width: Line width in pixels; None chooses it by the frame size.
    """

    def __init__(self, line_width: int | None = None) -> None:
        self.line_width = line_width
        self._paths: dict[int, deque[tuple[float, float]]] = {}
        self._source: str | None = None

    def __call__(self, image: np.ndarray, objects: FrameObjects) -> NDArray[np.uint8]:
        """Return the frame with the objects that have moved, (H, W, 3) uint8."""
        if objects.source != self._source:
            self._source, self._paths = objects.source, {}
        moved = objects.moved
        boxes, tracks = objects.boxes[moved].numpy(), objects.track[moved].tolist()
        colors = [COLORS[(track - 1) % len(COLORS)] for track in tracks]
        drawn = draw_boxes(image, boxes, colors, [str(track) for track in tracks], self.line_width)
        self._paths = {track: self._paths.get(track, deque(maxlen=PATH_FRAMES)) for track in tracks}
        if objects.camera is not None:
            return drawn  # the way in the frame says little while the camera moves
        for (x0, _, x1, y1), track, color in zip(boxes.tolist(), tracks, colors, strict=True):
            self._paths[track].append(((x0 + x1) / 2, y1 - 1))  # where it touches the ground
            line = np.rint(np.array(self._paths[track])).astype(np.int32)[:, None]
            cv2.polylines(drawn, [line], False, color, 1, cv2.LINE_AA)
        return drawn
