"""Detection of truncated video files from the lengths in their headers."""

from pathlib import Path
from typing import BinaryIO

_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"pnot"}
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_truncated(path: Path) -> bool:
    """Return whether a file is shorter than its header states.

    MP4 and MOV files are sequences of boxes, Matroska and WebM files one segment, AVI files one
    RIFF chunk, and each has a length in bytes. A length of zero or "unknown", as a killed recorder
    writes, does not count as truncated.

    Args:
        path: A readable file.

    Returns:
        True if bytes are missing at the end; False also for formats without a length.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return size < 8 + int.from_bytes(head[4:8], "little") < 0xFFFFFFF0
        if head[:4] == _EBML:
            return _segment_end(file) > size
        if head[4:8] in _BOXES:
            return _boxes_end(file, size) > size
    return False


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Return the end of the last box of an MP4 file in bytes, as stated by its header."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the length did not fit in 32 bits
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0 means up to the end of the file; others are invalid
            return size
        end += length
    return end


def _segment_end(file: BinaryIO) -> int:
    """Return the stated end of the segment of a Matroska file in bytes, 0 if not stated."""
    file.seek(4)
    length = _vint(file)
    if length is None:
        return 0
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """Read an EBML integer: leading zero bits encode its width, all ones mean unknown (None)."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    number = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return None if number == (1 << 7 * width) - 1 else number
