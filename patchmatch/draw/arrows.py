"""Arrows of displacements on an image."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from patchmatch.draw.colors import COLORS, Color
from patchmatch.io import to_rgb_uint8

_MIN_PIXELS, _MIN_THICKNESSES = 12.0, 8.0  # least length of an arrow: pixels, line thicknesses
_SUBPIXEL = 4  # bits of OpenCV's fixed-point coordinates
_COORDINATE_LIMIT = 1e5  # pixels: outside any image, within the range of OpenCV


def draw_arrows(
    image: np.ndarray,
    starts: ArrayLike,
    displacement: ArrayLike,
    colors: Sequence[Color],
    scale: float = 1.0,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw an arrow for each displacement; the first arrow is on top.

    Arrows are at least 12 pixels and 8 line thicknesses long, so that the head is visible. A
    displacement that is not finite is drawn as a cross, a zero displacement as a dot.

    Args:
        image: An image as from ``read_image``; not modified.
        starts: (N, 2), x and y of the start of each arrow.
        displacement: (N, 2), dx and dy in pixels.
        colors: A color for each arrow.
        scale: Length of an arrow for a displacement of one pixel.
        thickness: Line thickness in pixels; None chooses it by the size of the image.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the numbers of starts, displacements and colors differ, or scale or
            thickness is not positive.
    """
    origins = np.asarray(starts, dtype=np.float64).reshape(-1, 2)
    vectors = np.asarray(displacement, dtype=np.float64).reshape(-1, 2)
    if not len(origins) == len(vectors) == len(colors):
        raise ValueError(
            "every arrow must have a start, a displacement and a color, got "
            f"{len(origins)} starts, {len(vectors)} displacements, {len(colors)} colors"
        )
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be a positive number, got {scale}")
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1 pixel, got {thickness}")
    drawn = to_rgb_uint8(image)
    line = thickness or max(1, round(max(drawn.shape[:2]) / 400))
    for (x, y), (dx, dy), color in reversed(list(zip(origins, vectors, colors, strict=True))):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        strokes = _strokes(float(x), float(y), float(dx) * scale, float(dy) * scale, line)
        # The black outline separates the arrow from an image of the same color.
        for stroke_color, width in ((COLORS["black"], line + 2), (color, line)):
            for stroke in strokes:
                points = np.rint(
                    np.clip(stroke, -_COORDINATE_LIMIT, _COORDINATE_LIMIT) * 2**_SUBPIXEL
                ).astype(np.int32)
                cv2.polylines(drawn, [points], False, stroke_color, width, cv2.LINE_AA, _SUBPIXEL)
    return drawn


def _strokes(x: float, y: float, dx: float, dy: float, line: int) -> list[list[tuple[float, ...]]]:
    """Return the polylines of an arrow, a cross or a dot."""
    if not (math.isfinite(dx) and math.isfinite(dy)):
        arm = 2.0 + line
        return [
            [(x - arm, y - arm), (x + arm, y + arm)],
            [(x - arm, y + arm), (x + arm, y - arm)],
        ]
    length = math.hypot(dx, dy)
    if length == 0:
        return [[(x - 1, y), (x + 1, y)], [(x, y - 1), (x, y + 1)]]
    stretch = max(1.0, max(_MIN_PIXELS, _MIN_THICKNESSES * line) / length)
    stretch = min(stretch, _COORDINATE_LIMIT / length)
    tip = (x + dx * stretch, y + dy * stretch)
    angle, wing = math.atan2(dy, dx), min(0.4 * length * stretch, 4.0 + 2 * line)
    wings = [
        (tip[0] - wing * math.cos(angle + turn), tip[1] - wing * math.sin(angle + turn))
        for turn in (-0.5, 0.5)
    ]
    return [[(x, y), tip], [wings[0], tip, wings[1]]]
