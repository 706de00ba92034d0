"""Arrows of displacements on a picture."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from patchmatch.draw.colors import COLORS, Color
from patchmatch.io import to_rgb_uint8

_SHORTEST, _SLIMMEST = 12.0, 8.0  # pixels, and widths of the line, that an arrow must be long
_SUBPIXEL = 4  # bits of OpenCV's fixed-point coordinates
_FAR = 1e5  # pixels: beyond any picture, and within what OpenCV can count


def draw_arrows(
    picture: np.ndarray,
    starts: ArrayLike,
    displacement: ArrayLike,
    colors: Sequence[Color],
    scale: float = 1.0,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw an arrow along each displacement; the first arrow lies on top.

    An arrow shorter than 12 pixels, or 8 widths of its line, is drawn that long, because its head
    could not be told from its shaft. Where the displacement is not finite, a cross marks the
    place; where it is zero, a dot.

    Args:
        picture: As ``read_image`` returns it; it stays as it is.
        starts: (N, 2), x and y where the arrows begin.
        displacement: (N, 2), dx and dy in pixels.
        colors: A color for each arrow.
        scale: Length of an arrow for a displacement of one pixel.
        thickness: Width of the shafts in pixels; None chooses by the size of the picture.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If places, displacements and colors are not equally many, or scale or thickness
            are not positive.
    """
    places = np.asarray(starts, dtype=np.float64).reshape(-1, 2)
    ways = np.asarray(displacement, dtype=np.float64).reshape(-1, 2)
    if not len(places) == len(ways) == len(colors):
        raise ValueError(
            "every arrow must have a start, a displacement and a color, got "
            f"{len(places)} starts, {len(ways)} displacements, {len(colors)} colors"
        )
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be a positive number, got {scale}")
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1 pixel, got {thickness}")
    drawn = to_rgb_uint8(picture)
    line = thickness or max(1, round(max(drawn.shape[:2]) / 400))
    for (x, y), (dx, dy), color in reversed(list(zip(places, ways, colors, strict=True))):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        strokes = _strokes(float(x), float(y), float(dx) * scale, float(dy) * scale, line)
        # A dark rim keeps the arrow apart from a picture of its own color.
        for ink, width in ((COLORS["black"], line + 2), (color, line)):
            for stroke in strokes:
                points = np.rint(np.clip(stroke, -_FAR, _FAR) * 2**_SUBPIXEL).astype(np.int32)
                cv2.polylines(drawn, [points], False, ink, width, cv2.LINE_AA, _SUBPIXEL)
    return drawn


def _strokes(x: float, y: float, dx: float, dy: float, line: int) -> list[list[tuple[float, ...]]]:
    """Return the polygons of an arrow, of a cross or of a dot."""
    if not (math.isfinite(dx) and math.isfinite(dy)):
        arm = 2.0 + line
        return [
            [(x - arm, y - arm), (x + arm, y + arm)],
            [(x - arm, y + arm), (x + arm, y - arm)],
        ]
    length = math.hypot(dx, dy)
    if length == 0:
        return [[(x - 1, y), (x + 1, y)], [(x, y - 1), (x, y + 1)]]
    stretch = max(1.0, max(_SHORTEST, _SLIMMEST * line) / length)
    stretch = min(stretch, _FAR / length)
    tip = (x + dx * stretch, y + dy * stretch)
    angle, wing = math.atan2(dy, dx), min(0.4 * length * stretch, 4.0 + 2 * line)
    wings = [
        (tip[0] - wing * math.cos(angle + turn), tip[1] - wing * math.sin(angle + turn))
        for turn in (-0.5, 0.5)
    ]
    return [[(x, y), tip], [wings[0], tip, wings[1]]]
