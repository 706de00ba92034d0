"""Outlines of boxes on a picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from patchmatch.draw.colors import Color
from patchmatch.draw.text import SMALLEST, write_label
from patchmatch.io import to_rgb_uint8


def draw_boxes(
    picture: np.ndarray,
    boxes: ArrayLike,
    colors: Sequence[Color],
    labels: Sequence[str] | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw the outlines of boxes; the first box lies on top.

    The lines run inside the boxes: the outermost ones are column x0 and column x1 - 1, row y0 and
    row y1 - 1. What reaches beyond the picture is cut off; a box wholly outside is not drawn.

    Args:
        picture: As ``read_image`` returns it; it stays as it is.
        boxes: (N, 4), xyxy in pixels, half-open.
        colors: A color for each box.
        labels: A short ASCII text for each box, written above it, or inside where there is no room.
        thickness: Width of the lines in pixels; None chooses by the size of the picture.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If boxes, colors and labels are not equally many, or the thickness is no width.
    """
    corners = np.rint(np.asarray(boxes, dtype=np.float64)).astype(int).reshape(-1, 4)
    texts = [""] * len(corners) if labels is None else list(labels)
    if not len(corners) == len(colors) == len(texts):
        raise ValueError(
            "every box must have a color, and a label if any has one, got "
            f"{len(corners)} boxes, {len(colors)} colors, {len(texts)} labels"
        )
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1 pixel, got {thickness}")
    drawn = to_rgb_uint8(picture)
    height, width = drawn.shape[:2]
    line = thickness or max(1, round(max(height, width) / 400))
    clipped = corners.clip(0, (width, height, width, height))
    everything = list(zip(clipped.tolist(), colors, texts, strict=True))
    for (x0, y0, x1, y1), color, _ in reversed(everything):
        if x0 < x1 and y0 < y1:
            inside = drawn[y0:y1, x0:x1]
            inside[:line] = inside[-line:] = color
            inside[:, :line] = inside[:, -line:] = color
    for (x0, y0, x1, y1), color, text in reversed(everything):
        if text and x0 < x1 and y0 < y1:
            write_label(drawn, x0, y0, color, text, size=max(SMALLEST, line / 5))
    return drawn
