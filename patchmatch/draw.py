"""Results on images: boxes, montages, differences. Everything returns a new uint8 picture."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from patchmatch.io import to_gray_float, to_rgb_uint8

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
}

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_SIZE = 0.4  # of OpenCV's font; smaller ones cannot be read
_PAPER = 255  # of a montage; digits on black stand out against it


def parse_color(text: str) -> Color:
    """Return ``(r, g, b)`` of 0 to 255.

    Args:
        text: ``#rrggbb``, or a name of ``COLORS``; upper and lower case are the same.

    Raises:
        ValueError: If it is neither.
    """
    name = text.strip().lower()
    if name in COLORS:
        return COLORS[name]
    digits = name.removeprefix("#")
    if name.startswith("#") and len(digits) == 6 and set(digits) <= set("0123456789abcdef"):
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    raise ValueError(f"a color must be #rrggbb or one of {', '.join(COLORS)}, got {text!r}")


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
            _draw_label(drawn, x0, y0, color, text, size=max(_CAPTION_SIZE, line / 5))
    return drawn


def montage(
    images: Sequence[np.ndarray],
    columns: int | None = None,
    gap: int = 2,
    captions: Sequence[str] | None = None,
    scale: int = 1,
) -> np.ndarray:
    """Lay pictures out on white paper, row by row, each in the middle of an equally large cell.

    Args:
        images: Pictures ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float in [0, 1]; they may
            differ in size.
        columns: Cells in a row; None makes the grid about square.
        gap: Pixels around and between the cells.
        captions: A short ASCII text below each picture; cells widen so that it fits.
        scale: Each pixel becomes a square of this side.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If there is no picture, or captions or numbers do not fit.
    """
    if not len(images):
        raise ValueError("a montage must have at least one picture, got an empty list")
    texts = [""] * len(images) if captions is None else list(captions)
    if len(texts) != len(images):
        raise ValueError(
            f"every picture must have a caption, got {len(images)} pictures, {len(texts)} captions"
        )
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1 or gap < 0 or scale < 1:
        raise ValueError(
            "columns and scale must be at least 1 and gap at least 0, got "
            f"columns={columns}, scale={scale}, gap={gap}"
        )
    tiles = [_enlarge(_as_rgb(image), scale) for image in images]
    sizes = [_text_size(text, _CAPTION_SIZE) for text in texts]
    height = max(tile.shape[0] for tile in tiles)
    width = max(*(tile.shape[1] for tile in tiles), *(size[0] for size in sizes))
    strip = max(size[1] for size in sizes) + 4 if any(texts) else 0
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    step_y, step_x = height + strip + gap, width + gap
    paper = np.full((rows * step_y + gap, columns * step_x + gap, 3), _PAPER, np.uint8)
    for index, (tile, text, size) in enumerate(zip(tiles, texts, sizes, strict=True)):
        top, left = gap + index // columns * step_y, gap + index % columns * step_x
        y, x = top + (height - tile.shape[0]) // 2, left + (width - tile.shape[1]) // 2
        paper[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        _write(paper, left + (width - size[0]) // 2, top + height + 2, text, COLORS["black"])
    return paper


def difference_picture(picture0: np.ndarray, picture1: np.ndarray) -> np.ndarray:
    """Show where brightness changed, and which way.

    Mid-gray is no change, lighter has become brighter, darker has become darker, level for level;
    changes of more than half the range are white or black. A small shift looks like a relief, and
    the side of its light tells the direction.

    Args:
        picture0: The earlier picture, as ``read_image`` returns it; of colors the luma counts.
        picture1: The later one, of equal size.

    Returns:
        ``(H, W)`` uint8, 128 where nothing changed.

    Raises:
        ValueError: If the sizes differ.
    """
    gray0, gray1 = to_gray_float(picture0), to_gray_float(picture1)
    if gray0.shape != gray1.shape:
        raise ValueError(f"the pictures must be equally large, got {gray0.shape}, {gray1.shape}")
    return np.rint((gray1 - gray0) * 255 + 128).clip(0, 255).astype(np.uint8)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Convert as ``to_rgb_uint8`` does, from floats of any width."""
    image = np.asarray(image)
    return to_rgb_uint8(image.astype(np.float32) if image.dtype.kind == "f" else image)


def _enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel ``scale`` times along both axes."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _text_size(text: str, size: float) -> tuple[int, int]:
    """Return the width and height that a text takes, descenders included."""
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    return (width, height + below) if text else (0, 0)


def _write(
    picture: np.ndarray, x: int, y: int, text: str, color: Color, size: float = _CAPTION_SIZE
) -> None:
    """Write into ``picture``; (x, y) is the top-left corner of the text."""
    if text:
        (_, height), _ = cv2.getTextSize(text, _FONT, size, 1)
        weight = max(1, round(size))
        cv2.putText(picture, text, (x, y + height), _FONT, size, color, weight, cv2.LINE_AA)


def _draw_label(picture: np.ndarray, x: int, y: int, color: Color, text: str, size: float) -> None:
    """Write on a patch of the box's color, just above row ``y`` if there is room."""
    width, height = _text_size(text, size)
    y = y - height - 2 if y >= height + 2 else y
    x = max(0, min(x, picture.shape[1] - width - 4))
    picture[y : y + height + 2, x : x + width + 4] = color
    is_light = 299 * color[0] + 587 * color[1] + 114 * color[2] > 128_000
    _write(picture, x + 2, y + 1, text, COLORS["black" if is_light else "white"], size)
