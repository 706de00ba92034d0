"""Montages, difference images and conversions of images."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import MIN_FONT_SCALE, draw_text, text_size
from patchmatch.io import to_gray_float, to_rgb_uint8

_BACKGROUND = 255  # of a montage: white, so that digits on black stand out


def montage(
    images: Sequence[np.ndarray],
    columns: int | None = None,
    gap: int = 2,
    captions: Sequence[str] | None = None,
    scale: int = 1,
) -> np.ndarray:
    """Arrange images in a grid on white, row by row, each centred in its tile.

    Args:
        images: At least one, ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float in [0, 1]; sizes
            may differ.
        columns: Number of columns; None makes the grid approximately square.
        gap: Margin around and between the tiles in pixels.
        captions: A short ASCII text below each image; tiles are widened to fit.
        scale: Integer factor by which every pixel is enlarged.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If there are no images, captions are missing, or a number is too small.
    """
    if not len(images):
        raise ValueError("a montage must have at least one image, got an empty list")
    texts = [""] * len(images) if captions is None else list(captions)
    if len(texts) != len(images):
        raise ValueError(
            f"every image must have a caption, got {len(images)} images, {len(texts)} captions"
        )
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1 or gap < 0 or scale < 1:
        raise ValueError(
            "columns and scale must be at least 1 and gap at least 0, got "
            f"columns={columns}, scale={scale}, gap={gap}"
        )
    tiles = [_enlarge(_as_rgb(image), scale) for image in images]
    sizes = [text_size(text, MIN_FONT_SCALE) for text in texts]
    height = max(tile.shape[0] for tile in tiles)
    width = max(*(tile.shape[1] for tile in tiles), *(size[0] for size in sizes))
    strip = max(size[1] for size in sizes) + 4 if any(texts) else 0
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    step_y, step_x = height + strip + gap, width + gap
    canvas = np.full((rows * step_y + gap, columns * step_x + gap, 3), _BACKGROUND, np.uint8)
    for index, (tile, text, size) in enumerate(zip(tiles, texts, sizes, strict=True)):
        top, left = gap + index // columns * step_y, gap + index % columns * step_x
        y, x = top + (height - tile.shape[0]) // 2, left + (width - tile.shape[1]) // 2
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        draw_text(canvas, left + (width - size[0]) // 2, top + height + 2, text, COLORS["black"])
    return canvas


def difference_image(image0: np.ndarray, image1: np.ndarray) -> np.ndarray:
    """Return the signed difference in luma, image 1 minus image 0, plus 128.

    Differences of more than half the range are clipped. A small shift gives a relief whose lit
    side shows its direction.

    Args:
        image0: The earlier image, as from ``read_image``.
        image1: The later image, of the same size.

    Returns:
        ``(H, W)`` uint8, 128 where the images are equal.

    Raises:
        ValueError: If the sizes differ.
    """
    gray0, gray1 = to_gray_float(image0), to_gray_float(image1)
    if gray0.shape != gray1.shape:
        raise ValueError(f"images must have the same size, got {gray0.shape}, {gray1.shape}")
    return np.rint((gray1 - gray0) * 255 + 128).clip(0, 255).astype(np.uint8)


def shrink_to_fit(image: np.ndarray, size: int) -> np.ndarray:
    """Shrink an image to a longer side of ``size`` pixels; a smaller image is returned unchanged.

    Args:
        image: ``(H, W)`` or ``(H, W, 3)`` uint8.
        size: Maximum of height and width in pixels.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return image
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, sides, interpolation=cv2.INTER_AREA)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Convert like ``to_rgb_uint8``, from any float type."""
    image = np.asarray(image)
    return to_rgb_uint8(image.astype(np.float32) if image.dtype.kind == "f" else image)


def _enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel ``scale`` times along both axes."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def tensor_to_uint8(image: Tensor) -> np.ndarray:
    """Convert (C, H, W) in [0, 1] with C = 3 or 1 to (H, W, 3) or (H, W) uint8."""
    array = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return array[..., 0] if array.shape[2] == 1 else np.ascontiguousarray(array)
