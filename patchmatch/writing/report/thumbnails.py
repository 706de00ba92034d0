"""Thumbnails of the frames, resized to the available size of the page."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from patchmatch.io import to_rgb_uint8
from patchmatch.writing.chunks import RunChunks

# Long side in pixels and JPEG quality: the stored thumbnails, then in order of decreasing size.
LEVELS = (
    *((960, 80), (960, 65), (800, 60), (640, 55), (512, 50), (448, 45), (384, 45), (320, 40)),
    *((288, 38), (256, 35), (224, 35), (192, 35), (160, 35)),
)
_SAMPLES = 24  # thumbnails from which the total size is estimated
_SAFETY_FACTOR = 1.05  # other thumbnails may be larger than the samples
_JPEG_OPTIONS = (cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY)


def thumbnail(image: np.ndarray) -> bytes:
    """Return a frame as a JPEG with a long side of at most 960 pixels.

    Args:
        image: (H, W) or (H, W, 3), RGB, as returned by ``patchmatch.io.read_image``.
    """
    return _encode(np.ascontiguousarray(to_rgb_uint8(image)[..., ::-1]), *LEVELS[0])


def stored_thumbnails(chunks: RunChunks, table: str) -> list[Path]:
    """Return the file that each row of a table names as its ``thumbnail``, in order."""
    return [
        chunks.file(index, row["thumbnail"])
        for index, record in chunks.records()
        for row in record["rows"][table]
    ]


def read_thumbnail(path: Path) -> bytes | None:
    """Return the JPEG of a frame; None if it is missing."""
    return path.read_bytes() if path.is_file() else None


class ResizedThumbnails:
    """Iterable over the thumbnails of a run, resized to a total size.

    Args:
        thumbnails: Returns the JPEG of a pair by its index; None without one.
        groups: For each frame, the indices of the pairs that show it.
        max_bytes: Maximum total size of the thumbnails.

    Attributes:
        level: Index into ``LEVELS``.
        every: One of this many frames has a thumbnail.
    """

    def __init__(
        self,
        thumbnails: Callable[[int], bytes | None],
        groups: Sequence[Sequence[int]],
        max_bytes: int,
    ) -> None:
        self._thumbnails, self._groups, self._max_bytes = thumbnails, groups, max_bytes
        step = -(-len(groups) // _SAMPLES) or 1
        samples = [jpeg for group in groups[::step] if (jpeg := self._first(group))]
        expected = 0.0
        self.level = 0
        for self.level in range(len(LEVELS)):
            sizes = [len(_recode(jpeg, self.level)) for jpeg in samples]
            expected = _SAFETY_FACTOR * sum(sizes) / max(1, len(sizes)) * len(groups)
            if expected <= max_bytes:
                break
        self.every = max(1, int(-(-expected // max(1, max_bytes))))

    @property
    def note(self) -> str:
        """Description of the reduction for the user; "" without any."""
        notes = []
        if self.level:
            side, quality = LEVELS[self.level]
            notes.append(f"frames are stored with at most {side} pixels and JPEG quality {quality}")
        if self.every > 1:
            notes.append(f"one of {self.every} frames is stored, with the boxes of all")
        return "; ".join(notes)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the JPEG of each frame within the total size; empty without one.

        Frames with more detail than the samples are reduced further.
        """
        available = self._max_bytes
        for index, group in enumerate(self._groups):
            jpeg = b""
            if index % self.every == 0 and (stored := self._first(group)):
                remaining = -(-(len(self._groups) - index) // self.every)
                jpeg = self._fit(stored, min(available, 4 * available // remaining))
                available -= len(jpeg)
            yield jpeg

    def _first(self, group: Sequence[int]) -> bytes | None:
        """Return the first thumbnail of the pairs that show a frame."""
        return next((jpeg for pair in group if (jpeg := self._thumbnails(pair))), None)

    def _fit(self, jpeg: bytes, max_bytes: int) -> bytes:
        """Return a JPEG of at most ``max_bytes``; empty if no level is small enough."""
        smaller = (_recode(jpeg, level) for level in range(self.level, len(LEVELS)))
        return next((small for small in smaller if len(small) <= max_bytes), b"")


def _recode(jpeg: bytes, level: int) -> bytes:
    """Re-encode a JPEG at a level; empty if it is damaged."""
    if level == 0:
        return jpeg
    side, quality = LEVELS[level]
    # Decoding at half the size takes half the time for long runs.
    flag = cv2.IMREAD_REDUCED_COLOR_2 if side * 2 <= LEVELS[0][0] else cv2.IMREAD_COLOR
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flag)
    return b"" if decoded is None else _encode(decoded, side, quality)


def _encode(bgr: np.ndarray, side: int, quality: int) -> bytes:
    height, width = bgr.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    success, data = cv2.imencode(".jpg", bgr, (*_JPEG_OPTIONS, quality))
    if not success:
        raise ValueError(f"the frame cannot be encoded as JPEG, got shape {bgr.shape}")
    return data.tobytes()
