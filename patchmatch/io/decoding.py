"""From the bytes of a picture to its array: Pillow, and OpenCV where Pillow loses depth.

The functions know no path. Whatever is wrong with the bytes ends in an exception, of a class that
depends on the decoder; ``patchmatch.io.images`` makes one ``InputError`` of them all.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from patchmatch.io import tiff

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_FLAGS = {2: cv2.IMREAD_COLOR, 4: cv2.IMREAD_GRAYSCALE, 6: cv2.IMREAD_COLOR}
_PNG_NOTES = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")  # where an orientation may be noted
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)


def decode_image(data: bytes) -> np.ndarray:
    """Decode a whole picture as ``patchmatch.io.read_image`` describes it.

    Args:
        data: The content of a PNG, JPEG, BMP, TIFF, WebP, PPM or PGM file.

    Returns:
        The pixels, ``(H, W)`` or ``(H, W, 3)`` RGB, of uint8, uint16 or float32 in [0, 1].
    """
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data)
    if data.startswith(tiff.SIGNATURES):
        header = _check_tiff(data)
        if header.is_deep:
            return _decode_deep(data, cv2.IMREAD_ANYCOLOR)
    with _open(data) as picture:
        # Byte 24 of a PNG holds the bits of a sample, byte 25 the kind of its colours.
        if picture.format == "PNG" and data[24] == 16 and data[25] in _PNG_COLOUR_FLAGS:
            return _decode_deep(data, _PNG_COLOUR_FLAGS[data[25]])
        ImageOps.exif_transpose(picture, in_place=True)
        return to_array(picture)


def decode_size(data: bytes) -> tuple[int, int]:
    """Return ``(height, width)`` after orientation, from the header alone."""
    if data.startswith(tiff.SIGNATURES):  # Pillow cannot open all that OpenCV decodes
        header = tiff.read_tiff_header(data)
        height, width, orientation = header.height, header.width, header.orientation
    else:
        with _open(data) as picture:
            width, height = picture.size
            # Asked for EXIF, Pillow decodes a whole PNG, because the chunk may come last.
            told = picture.format != "PNG" or any(k in _PNG_NOTES for k, *_ in _png_chunks(data))
            orientation = picture.getexif().get(_ORIENTATION, 1) if told else 1
    return (width, height) if orientation in _SIDEWAYS else (height, width)


def _open(data: bytes) -> Image.Image:
    """Read the header with Pillow, in the formats we promise and no other."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(f"its content is none of {', '.join(FORMATS)}, or cut off") from error


def to_array(picture: Image.Image) -> np.ndarray:
    """Return the pixels of a picture, alpha dropped, palettes looked up."""
    mode = picture.mode
    if mode in {"L", "RGB"}:
        return np.array(picture)
    if mode in {"1", "LA", "La"}:
        return np.array(picture.convert("L"))
    # Older Pillows give a 16-bit gray PNG as 32-bit integers.
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PNG"):
        return np.array(picture).astype(np.uint16)
    if mode == "F":
        return _check_float(np.array(picture))
    if mode == "I":
        raise ValueError("its pixels are 32-bit integers, but 8 or 16 bits are needed")
    return np.array(picture.convert("RGB"))


def _decode_deep(data: bytes, colour_flag: int) -> np.ndarray:
    """Decode with OpenCV, which keeps 16 bits of colour where Pillow rounds them to 8."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), colour_flag | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise ValueError("the pixels are damaged, or stored in a way that is not read")
    if image.dtype in (np.float32, np.float64):
        image = _check_float(image.astype(np.float32))
    elif image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its pixels are {image.dtype}, but 8 or 16 bits are needed")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image


def _check_float(image: np.ndarray) -> np.ndarray:
    """Return ``image`` unless its floating-point pixels are no brightness in [0, 1]."""
    if not np.isfinite(image).all():
        raise ValueError("its floating-point pixels hold NaN or infinity")
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise ValueError(f"its floating-point pixels must lie in [0, 1], got {low:g} to {high:g}")
    return image


def _check_png(data: bytes) -> None:
    """Refuse a PNG with a bad checksum or without its end; decoders let some of them pass."""
    for kind, content, checksum in _png_chunks(data):
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise ValueError(f"the PNG is damaged in its {kind.decode('latin-1')!r} chunk")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield kind, content and checksum of each chunk, the end mark last."""
    view, start, kind = memoryview(data), len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        try:
            length, kind = struct.unpack_from(">I4s", data, start)
            (checksum,) = struct.unpack_from(">I", data, start + 8 + length)
        except struct.error as error:
            raise ValueError("the PNG is cut off before its end") from error
        yield kind, view[start + 8 : start + 8 + length], checksum
        start += 12 + length


def _check_tiff(data: bytes) -> tiff.TiffHeader:
    """Refuse a TIFF that is cut off, signed, or, for OpenCV does not look, far too large."""
    header = tiff.read_tiff_header(data)
    if header.end > len(data):
        raise ValueError(f"the TIFF is cut off: {len(data)} of {header.end} bytes are there")
    if header.signed:
        raise ValueError("its pixels are signed integers, but unsigned ones are needed")
    # The limit that Pillow itself applies to all other pictures.
    if Image.MAX_IMAGE_PIXELS and header.height * header.width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{header.height}x{header.width} pixels")
    return header
