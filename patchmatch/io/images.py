"""Reading and writing of image files, and conversion to gray float and to RGB uint8."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image, ImageOps

from patchmatch.core.errors import InputError, first_line
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.decoding import (
    decode_image,
    decode_opacity,
    decode_orientation,
    decode_size,
    opacity,
    to_array,
)
from patchmatch.io.files import read_bytes

Decoded = TypeVar("Decoded")

# Candidates in a folder. The format is determined from the content.
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pbm"),
    *(".pnm", ".jfif", ".jpe", ".jfi", ".jif", ".dib", ".apng", ".avif", ".heic", ".heif"),
)

# Lossless if the format allows it.
_WRITERS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {"compress_level": 1}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".webp": ("WEBP", {"lossless": True}),
}


def read_image(path: str | Path) -> np.ndarray:
    """Read an image.

    The format is detected from the content, not from the suffix. The EXIF orientation is applied.
    Palettes, CMYK and YCbCr are converted to RGB, bilevel images to gray 0 and 255; alpha is
    dropped without blending. Only the first page or animation frame is read.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, GIF, AVIF, PPM, PGM or PBM file, or HEIC with
            pillow-heif.

    Returns:
        ``(H, W)`` gray or ``(H, W, 3)`` RGB; uint8, uint16 for files of 16 bits, or float32 in
        [0, 1] for floating-point TIFF. The caller may modify the array.

    Raises:
        InputError: If the file is missing, damaged, truncated, not an image, or too large, or if
            its pixels are signed, NaN or outside [0, 1].
    """
    return _decode(path, decode_image)


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Return the ``(height, width)`` of ``read_image(path)``, from the header only.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, or PPM or PGM file.

    Returns:
        The size in pixels after the EXIF orientation.

    Raises:
        InputError: If the header cannot be read; damaged pixels are not detected.
    """
    return _decode(path, decode_size)


def read_orientation(path: str | Path) -> int:
    """Return the EXIF orientation that ``read_image(path)`` applies, from the header only.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, or PPM or PGM file.

    Returns:
        The value of the EXIF tag, 1 to 8; 1 if the pixels are stored upright.

    Raises:
        InputError: If the header cannot be read; damaged pixels are not detected.
    """
    return _decode(path, decode_orientation)


def read_opacity(path: str | Path) -> np.ndarray | None:
    """Return where an image is more opaque than transparent, by its alpha channel.

    Args:
        path: Any file that ``read_image`` reads.

    Returns:
        ``(H, W)`` bool, of the size of ``read_image(path)``; None if all pixels are opaque,
        or have the same opacity, which marks nothing.

    Raises:
        InputError: If the file cannot be read.
    """
    return _decode(path, decode_opacity)


def read_image_and_opacity(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return ``read_image`` and ``read_opacity`` of a file, which is read once."""
    return _decode(path, lambda data: (decode_image(data), decode_opacity(data)))


def pil_to_array(image: Image.Image) -> np.ndarray:
    """Convert a PIL image to the array that ``read_image`` returns of the same image.

    Raises:
        ValueError: If the pixels are 32-bit integers, or floats outside [0, 1].
    """
    return to_array(ImageOps.exif_transpose(image))


def pil_opacity(image: Image.Image) -> np.ndarray | None:
    """Return the same of a PIL image as ``read_opacity`` does of its file."""
    return opacity(ImageOps.exif_transpose(image))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an image atomically; all formats except JPEG are lossless.

    Args:
        path: The file to write; its suffix determines the format: .png, .jpg, .bmp, .tif or .webp.
        image: ``(H, W)`` gray or ``(H, W, 3)`` RGB of uint8.

    Raises:
        InputError: If the suffix is unknown, or the file cannot be written.
        ValueError: If shape or dtype of the array is wrong.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"{path}: cannot write {suffix or 'an image without suffix'}; use .png")
    _require_shape(image)
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, got {image.dtype}; convert it with to_rgb_uint8")
    name, options = _WRITERS[suffix]
    stream = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(image)).save(stream, name, **options)
    except (OSError, ValueError) as error:  # at most 65,535 (JPEG) and 16,383 (WebP) pixels a side
        height, width = image.shape[:2]
        raise InputError(f"{path}: {name} cannot hold {height}x{width} pixels; use .png") from error
    write_bytes_atomic(path, stream.getvalue())


def stretch_window(*images: np.ndarray) -> tuple[int, int]:
    """Return start and size of the range of uint16 values that becomes [0, 1] in ``to_float``.

    Images may use few of their 16 bits: 10 or 12 bits of a camera, or the narrow range of a thermal
    image. The result is the smallest window of 8, 10, 12 or 14 bits that contains all values, or
    all 16 bits. Windows begin at multiples of half their size, so that images of one camera usually
    share a window.

    Args:
        images: Images that are compared with each other; only those of uint16 count.
    """
    deep = [image for image in images if image.dtype == np.uint16 and image.size]
    low = min((int(image.min()) for image in deep), default=0)
    high = max((int(image.max()) for image in deep), default=0)
    for bits in (8, 10, 12, 14):
        half = 2 ** (bits - 1)
        start = low // half * half
        if low < high < start + 2 * half:
            return start, 2 * half
    return 0, 2**16


def to_float(image: np.ndarray, window: tuple[int, int] | None = None) -> np.ndarray:
    """Convert pixel values to float32 in [0, 1].

    Args:
        image: Any shape; bool, uint8, uint16 or float. Float values are converted as they are.
        window: Of uint16 images, from ``stretch_window``; None for that of the image alone.

    Returns:
        A new array of the same shape.
    """
    if image.dtype != np.uint16:
        full = np.float32(255 if image.dtype == np.uint8 else 1)
        return image.astype(np.float32) / full
    start, size = stretch_window(image) if window is None else window
    return (image.astype(np.float32) - start) / np.float32(size - 1)


def to_gray_float(image: np.ndarray) -> np.ndarray:
    """Convert to the gray image that networks take.

    Args:
        image: ``(H, W)`` or ``(H, W, 3)`` RGB of uint8, uint16 or float32, as from ``read_image``.

    Returns:
        ``(H, W)`` float32 in [0, 1]; of colors the luma of Rec. 601.
    """
    _require_image(image)
    image = to_float(image)
    if image.ndim == 3:
        # The luma weights sum to one only up to rounding.
        return np.clip(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, 1)
    return image


def to_mask(image: np.ndarray) -> np.ndarray:
    """Return where a mask is white: brighter than half of its brightest pixel.

    This is the one rule for all masks. It also reads masks whose white is 1, or a dark gray.

    Args:
        image: ``(H, W)`` or ``(H, W, 3)`` RGB of uint8, uint16 or float32, as from ``read_image``.

    Returns:
        ``(H, W)`` bool; all False if the image is black.
    """
    gray = to_gray_float(image)
    return gray > gray.max() / 2


def to_rgb_uint8(image: np.ndarray) -> np.ndarray:
    """Convert to an image that can be drawn on.

    Args:
        image: ``(H, W)`` or ``(H, W, 3)`` RGB of uint8, uint16 or float32, as from ``read_image``.

    Returns:
        ``(H, W, 3)`` uint8, a copy.
    """
    _require_image(image)
    if image.dtype != np.uint8:
        image = np.round(np.clip(to_float(image), 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()


def _require_image(image: np.ndarray) -> None:
    """Raise ValueError unless the dtype is supported and the shape is that of an image."""
    _require_shape(image)
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"image must be uint8, uint16 or float32, got {image.dtype}; convert it")


def _require_shape(image: np.ndarray) -> None:
    """Raise ValueError unless ``image`` is ``(H, W)`` or ``(H, W, 3)`` and not empty."""
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or image.size == 0:
        raise ValueError(
            f"image must be (H, W) or (H, W, 3) with at least one pixel, got {image.shape}; "
            "drop alpha and batch axes"
        )


def _decode(path: str | Path, decode: Callable[[bytes], Decoded]) -> Decoded:
    """Return what a decoder makes of a file; raise InputError if it fails."""
    data = read_bytes(path)
    try:
        return decode(data)
    except Exception as error:  # each decoder raises classes of its own
        raise _read_error(path, error) from error


def _read_error(path: str | Path, error: Exception) -> InputError:
    """Return the one-line error for an image that cannot be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return InputError(
            f"{path}: the image has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; shrink "
            "it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        )
    reason = first_line(error, length=None)
    return InputError(f"{path}: cannot be read as an image: {reason}; copy or export it again")
