"""Polygons on an image."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from patchmatch.draw.colors import COLORS, Color
from patchmatch.io import to_rgb_uint8

_SUBPIXEL = 4  # bits of OpenCV's fixed-point coordinates
_COORDINATE_LIMIT = 1e5  # pixels: outside any image, within the range of OpenCV


def draw_polygons(
    image: np.ndarray, polygons: ArrayLike, colors: Sequence[Color], thickness: int | None = None
) -> np.ndarray:
    """Draw closed polygons; the first one is on top.

    Args:
        image: An image as from ``read_image``; not modified.
        polygons: (N, corners, 2), x and y in pixels, (0, 0) is the center of the top-left pixel.
            A polygon with a corner that is not finite is not drawn.
        colors: A color for each polygon.
        thickness: Line thickness in pixels; None chooses it by the size of the image.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the numbers of polygons and colors differ, or the thickness is below 1.
    """
    points = np.asarray(polygons, dtype=np.float64)
    if len(points) != len(colors):
        raise ValueError(
            f"every polygon must have a color, got {len(points)} polygons, {len(colors)} colors"
        )
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1 pixel, got {thickness}")
    drawn = to_rgb_uint8(image)
    line = thickness or max(1, round(max(drawn.shape[:2]) / 400))
    for polygon, color in reversed(list(zip(points, colors, strict=True))):
        if not np.isfinite(polygon).all():
            continue
        limited = np.clip(polygon, -_COORDINATE_LIMIT, _COORDINATE_LIMIT)
        corners = np.rint(limited * 2**_SUBPIXEL).astype(np.int32)
        # The black outline separates the polygon from an image of the same color.
        for stroke_color, width in ((COLORS["black"], line + 2), (color, line)):
            cv2.polylines(drawn, [corners], True, stroke_color, width, cv2.LINE_AA, _SUBPIXEL)
    return drawn
