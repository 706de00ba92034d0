"""The header of TIFF files: size, pixel type and length of the file."""

import dataclasses
import io
from typing import BinaryIO

from PIL import TiffImagePlugin

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SUBFILE, _REDUCED = 254, 1  # a thumbnail, or a level of a pyramid
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _SAMPLE_FORMAT, _SIGNED = 277, 339, 2
_EXTENTS = ((273, 279), (324, 325))  # tags of (offsets, byte counts) for strips and for tiles


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiffHeader:
    """Header of an image of a TIFF file.

    Attributes:
        height: Height as stored, before the orientation is applied.
        width: Width as stored.
        orientation: The EXIF orientation, 1 to 8.
        bits: Bits per sample.
        samples: Samples per pixel, including alpha.
        signed: Whether the samples are signed integers.
        white_is_zero: Whether black is the largest value.
        end: End of the last strip or tile in bytes, the minimum length of the file.
    """

    height: int
    width: int
    orientation: int
    bits: int
    samples: int
    signed: bool
    white_is_zero: bool
    end: int

    @property
    def needs_opencv(self) -> bool:
        """Whether Pillow would reduce the pixels to 8 bits or cannot open the file."""
        return (self.bits > 8 and self.samples > 1) or self.bits > 32 or self.is_inverted

    @property
    def is_inverted(self) -> bool:
        """Whether the pixels must be inverted after decoding; Pillow inverts those of 8 bits."""
        return self.white_is_zero and self.bits == 16 and self.samples == 1


def find_pages(file: BinaryIO) -> list[tuple[int, int]]:
    """Find the pages of a TIFF file, without copies of reduced resolution.

    Args:
        file: The file, opened for reading.

    Returns:
        Position among all images of the file, and offset of the header, of each page.
    """
    file.seek(0)
    start = file.read(16)
    first = start if start[:4] in SIGNATURES[2:] else start[:8]
    tags = TiffImagePlugin.ImageFileDirectory_v2(first)
    pages, offsets = [], [tags.next]
    while offsets[-1] and offsets[-1] not in offsets[:-1]:
        try:
            file.seek(offsets[-1])
            tags.load(file)
            is_page = _WIDTH in tags and not int(tags.get(_SUBFILE, 0)) & _REDUCED
        except Exception:
            break
        if is_page:
            pages.append((len(offsets) - 1, offsets[-1]))
        offsets.append(tags.next)
    return pages


def read_tiff_header(data: bytes, offset: int | None = None) -> TiffHeader:
    """Read the header of a TIFF file, little- or big-endian, classic or BigTIFF.

    Args:
        data: The whole file.
        offset: Offset of the header, from ``find_pages``; that of the first image by default.

    Returns:
        The header of the image.

    Raises:
        ValueError: If the header is truncated.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])
    stream = io.BytesIO(data)
    stream.seek(tags.next if offset is None else offset)
    tags.load(stream)

    def numbers(tag: int, default: int = 0) -> tuple[int, ...]:
        value = tags.get(tag, default)
        return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value),)

    header = TiffHeader(
        height=numbers(_HEIGHT)[0],
        width=numbers(_WIDTH)[0],
        orientation=numbers(_ORIENTATION, 1)[0],
        bits=max(numbers(_BITS, 1)),
        samples=numbers(_SAMPLES, 1)[0],
        signed=_SIGNED in numbers(_SAMPLE_FORMAT, 1),
        white_is_zero=numbers(_PHOTOMETRIC, 1)[0] == 0,
        end=max(
            offset + count
            for offsets, counts in _EXTENTS
            for offset, count in zip(numbers(offsets), numbers(counts), strict=False)
        ),
    )
    if header.height < 1 or header.width < 1 or header.end < 1:
        raise ValueError("the TIFF is truncated: its header lacks the size or offset of the pixels")
    return header
