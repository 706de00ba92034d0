"""Outlines of boxes on an image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from patchmatch.draw.colors import Color
from patchmatch.draw.text import MIN_FONT_SCALE, draw_label
from patchmatch.io import to_rgb_uint8


def draw_boxes(
    image: np.ndarray,
    boxes: ArrayLike,
    colors: Sequence[Color],
    labels: Sequence[str] | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """Draw the outlines of boxes; the first box is on top.

    The lines are inside the boxes: the outermost columns are x0 and x1 - 1, the outermost rows y0
    and y1 - 1. Boxes are clipped to the image; a box outside the image is not drawn.

    Args:
        image: An image as from ``read_image``; not modified.
        boxes: (N, 4), xyxy in pixels, half-open.
        colors: A color for each box.
        labels: A short ASCII text for each box, drawn above it, or inside if there is no space.
        thickness: Line thickness in pixels; None chooses it by the size of the image.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the numbers of boxes, colors and labels differ, or the thickness is below 1.
    """
    corners = np.rint(np.asarray(boxes, dtype=np.float64)).astype(int).reshape(-1, 4)
    texts = [""] * len(corners) if labels is None else list(labels)
    if not len(corners) == len(colors) == len(texts):
        raise ValueError(
            "every box must have a color, and a label if labels are given, got "
            f"{len(corners)} boxes, {len(colors)} colors, {len(texts)} labels"
        )
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1 pixel, got {thickness}")
    drawn = to_rgb_uint8(image)
    height, width = drawn.shape[:2]
    line = thickness or max(1, round(max(height, width) / 400))
    clipped = corners.clip(0, (width, height, width, height))
    drawn_boxes = list(zip(clipped.tolist(), colors, texts, strict=True))
    for (x0, y0, x1, y1), color, _ in reversed(drawn_boxes):
        if x0 < x1 and y0 < y1:
            inside = drawn[y0:y1, x0:x1]
            inside[:line] = inside[-line:] = color
            inside[:, :line] = inside[:, -line:] = color
    for (x0, y0, x1, y1), color, text in reversed(drawn_boxes):
        if text and x0 < x1 and y0 < y1:
            draw_label(drawn, x0, y0, color, text, max(MIN_FONT_SCALE, line / 5))
    return drawn
