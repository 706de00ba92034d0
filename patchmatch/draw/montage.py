"""Pictures side by side, and what differs between two."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import SMALLEST, text_size, write
from patchmatch.io import to_gray_float, to_rgb_uint8

_PAPER = 255  # of a montage; digits on black stand out against it


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
    sizes = [text_size(text, SMALLEST) for text in texts]
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
        write(paper, left + (width - size[0]) // 2, top + height + 2, text, COLORS["black"])
    return paper


def difference_image(picture0: np.ndarray, picture1: np.ndarray) -> np.ndarray:
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


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """Return a picture reduced until its longest side has ``size`` pixels, never enlarged.

    Args:
        picture: ``(H, W)`` or ``(H, W, 3)`` uint8.
        size: Pixels.
    """
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, sides, interpolation=cv2.INTER_AREA)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Convert as ``to_rgb_uint8`` does, from floats of any width."""
    image = np.asarray(image)
    return to_rgb_uint8(image.astype(np.float32) if image.dtype.kind == "f" else image)


def _enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel ``scale`` times along both axes."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def tensor_to_uint8(image: Tensor) -> np.ndarray:
    """Return (H, W, 3) or (H, W) uint8 of (C, H, W) in [0, 1], C = 3 or 1."""
    picture = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture)
