"""Decoding of images from bytes, by Pillow, or by OpenCV where Pillow would reduce the bit depth.

Invalid bytes raise an exception whose class depends on the decoder; ``patchmatch.io.images``
converts all of them to ``InputError``.
"""

import contextlib
import functools
import importlib
import io
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from patchmatch.io import tiff

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "AVIF", "HEIF", "WEBP", "GIF", "PPM")

_HEIC = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"))
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_FLAGS = {2: cv2.IMREAD_COLOR, 4: cv2.IMREAD_GRAYSCALE, 6: cv2.IMREAD_COLOR}
_PNG_METADATA = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")  # chunks that may hold an orientation
_ORIENTATION, _TRANSPOSED = 0x0112, (5, 6, 7, 8)


def decode_image(data: bytes, page: int | None = None) -> np.ndarray:
    """Decode an image; ``patchmatch.io.read_image`` documents the conversions.

    Args:
        data: The content of a PNG, JPEG, BMP, TIFF, WebP, GIF, AVIF, HEIC, PPM, PGM or PBM file.
        page: Index of a page of a TIFF file; the first image of any file by default.

    Returns:
        The pixels, ``(H, W)`` or ``(H, W, 3)`` RGB, of uint8, uint16 or float32 in [0, 1].
    """
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data)
    if data.startswith(tiff.SIGNATURES):
        pages = tiff.find_pages(io.BytesIO(data)) if page is not None else []
        number, offset = pages[page] if page is not None else (0, None)
        header = _check_tiff(data, offset)
        if header.needs_opencv:
            pixels = _decode_with_opencv(data, cv2.IMREAD_ANYCOLOR, number)
            return 65535 - pixels if header.is_inverted else pixels
    else:
        number = 0
    with _open(data) as opened:
        if number:
            opened.seek(number)
        # Byte 24 of a PNG is the bit depth, byte 25 the colour type.
        if opened.format == "PNG" and data[24] == 16 and data[25] in _PNG_COLOUR_FLAGS:
            return _decode_with_opencv(data, _PNG_COLOUR_FLAGS[data[25]])
        ImageOps.exif_transpose(opened, in_place=True)
        return to_array(opened)


def decode_size(data: bytes) -> tuple[int, int]:
    """Return ``(height, width)`` after EXIF orientation, from the header only."""
    height, width, orientation = _read_header(data)
    return (width, height) if orientation in _TRANSPOSED else (height, width)


def decode_orientation(data: bytes) -> int:
    """Return the EXIF orientation that ``decode_image`` applies, 1 to 8, from the header only."""
    return _read_header(data)[2]


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return height and width as stored, and the EXIF orientation, 1 to 8."""
    if data.startswith(tiff.SIGNATURES):  # OpenCV decodes some that Pillow cannot open
        header = tiff.read_tiff_header(data)
        height, width, orientation = header.height, header.width, header.orientation
    else:
        with _open(data) as opened:
            width, height = opened.size
            # For EXIF, Pillow decodes all of a PNG, because the chunk may come last.
            is_png = opened.format == "PNG"
            has_exif = not is_png or any(k in _PNG_METADATA for k, *_ in _png_chunks(data))
            orientation = opened.getexif().get(_ORIENTATION, 1) if has_exif else 1
    return height, width, orientation if orientation in range(1, 9) else 1


def _open(data: bytes) -> Image.Image:
    """Read the header with Pillow, only in the supported formats."""
    known = formats()
    try:
        return Image.open(io.BytesIO(data), formats=known)
    except UnidentifiedImageError as error:
        if data[4:12] in _HEIC and "HEIF" not in known:
            raise ValueError("HEIC requires pillow-heif: pip install pillow-heif") from error
        raise ValueError(
            f"expected {', '.join(known)}, got another format or a truncated file"
        ) from error


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the formats that this Pillow reads; HEIF if pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    registered = set(Image.registered_extensions().values())
    return tuple(name for name in _FORMATS if name in registered)


def decode_opacity(data: bytes) -> np.ndarray | None:
    """Return where an image is more opaque than transparent; None if all pixels are opaque."""
    with _open(data) as opened:
        if not opened.has_transparency_data:  # known from the header: nothing is decoded
            return None
        ImageOps.exif_transpose(opened, in_place=True)
        return opacity(opened)


def opacity(opened: Image.Image) -> np.ndarray | None:
    """Return ``decode_opacity`` of an open image."""
    if not opened.has_transparency_data:
        return None
    alpha = np.array(opened.convert("RGBA"))[..., 3]
    opaque = alpha > 127
    return None if opaque.all() or alpha.min() == alpha.max() else opaque


def to_array(opened: Image.Image) -> np.ndarray:
    """Return the pixels of an image without alpha, with palettes resolved."""
    mode = opened.mode
    if mode in {"L", "RGB"}:
        return np.array(opened)
    if mode in {"1", "LA", "La"}:
        return np.array(opened.convert("L"))
    # Older versions of Pillow return a 16-bit gray PNG as 32-bit integers.
    if mode.startswith("I;16") or (mode == "I" and opened.format in ("PNG", "PPM")):
        return np.array(opened).astype(np.uint16)
    if mode == "F":
        return _check_float(np.array(opened))
    if mode == "I":
        raise ValueError("expected pixels of 8 or 16 bits, got 32-bit integers")
    return np.array(opened.convert("RGB"))


def _decode_with_opencv(data: bytes, colour_flag: int, number: int = 0) -> np.ndarray:
    """Decode with OpenCV, which keeps 16 bits per channel; Pillow reduces them to 8."""
    content, flags = np.frombuffer(data, np.uint8), colour_flag | cv2.IMREAD_ANYDEPTH
    if number:
        _, pages = cv2.imdecodemulti(content, flags, range=(number, number + 1))
        image = pages[0] if pages else None
    else:
        image = cv2.imdecode(content, flags)
    if image is None:
        raise ValueError("the pixels are damaged or in an unsupported encoding")
    if image.dtype in (np.float32, np.float64):
        image = _check_float(image.astype(np.float32))
    elif image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected pixels of 8 or 16 bits, got {image.dtype}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image


def _check_float(image: np.ndarray) -> np.ndarray:
    """Return ``image``; raise ValueError unless its pixels are finite and in [0, 1]."""
    if not np.isfinite(image).all():
        raise ValueError("floating-point pixels contain NaN or infinite values")
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise ValueError(f"floating-point pixels must be in [0, 1], got {low:g} to {high:g}")
    return image


def _check_png(data: bytes) -> None:
    """Reject a PNG with a wrong checksum or without its end; decoders accept some of them."""
    for kind, content, checksum in _png_chunks(data):
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise ValueError(f"the PNG is damaged in its {kind.decode('latin-1')!r} chunk")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield type, content and checksum of each chunk up to IEND."""
    view, start, kind = memoryview(data), len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        try:
            length, kind = struct.unpack_from(">I4s", data, start)
            (checksum,) = struct.unpack_from(">I", data, start + 8 + length)
        except struct.error as error:
            raise ValueError("the PNG is truncated") from error
        yield kind, view[start + 8 : start + 8 + length], checksum
        start += 12 + length


def _check_tiff(data: bytes, offset: int | None = None) -> tiff.TiffHeader:
    """Reject truncated, signed and oversized TIFF files (OpenCV does not check the size)."""
    header = tiff.read_tiff_header(data, offset)
    if header.end > len(data):
        raise ValueError(f"the TIFF is truncated: expected {header.end} bytes, got {len(data)}")
    if header.signed:
        raise ValueError("expected unsigned pixels, got signed integers")
    # The limit that Pillow applies to all other formats.
    if Image.MAX_IMAGE_PIXELS and header.height * header.width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{header.height}x{header.width} pixels")
    return header
