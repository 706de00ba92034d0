"""Small pictures of the frames, as many and as large as a page may hold."""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from patchmatch.io import to_rgb_uint8

# Long side in pixels and quality of the JPEG: as the pictures are kept, and what they may be
# shrunk to, the best first.
LEVELS = (
    *((960, 80), (960, 65), (800, 60), (640, 55), (512, 50), (448, 45), (384, 45), (320, 40)),
    *((288, 38), (256, 35), (224, 35), (192, 35), (160, 35)),
)
_SAMPLES = 24
_RESERVE = 1.05  # frames differ from the sampled ones
_OPTIONS = (cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY)


def thumbnail(picture: np.ndarray) -> bytes:
    """Return a frame as a JPEG with no side longer than 960 pixels.

    Args:
        picture: (H, W) or (H, W, 3), RGB, as ``patchmatch.io.read_image`` gives it.
    """
    return _encode(np.ascontiguousarray(to_rgb_uint8(picture)[..., ::-1]), *LEVELS[0])


class Shrinker:
    """Makes the pictures of a run small enough for a page.

    Args:
        pictures: Gives the JPEG of a pair by its index; None where there is none.
        shots: The pairs that show the same frame, for each frame.
        room: How many bytes all pictures may have together.

    Attributes:
        level: Index of ``LEVELS``.
        every: One picture is kept of so many frames.
    """

    def __init__(
        self,
        pictures: Callable[[int], bytes | None],
        shots: Sequence[Sequence[int]],
        room: int,
    ) -> None:
        self._pictures, self._shots, self._room = pictures, shots, room
        step = -(-len(shots) // _SAMPLES) or 1
        samples = [picture for shot in shots[::step] if (picture := self._picture(shot))]
        expected = 0.0
        self.level = 0
        for self.level in range(len(LEVELS)):
            sizes = [len(_recode(picture, self.level)) for picture in samples]
            expected = _RESERVE * sum(sizes) / max(1, len(sizes)) * len(shots)
            if expected <= room:
                break
        self.every = max(1, int(-(-expected // max(1, room))))

    @property
    def note(self) -> str:
        """What was shrunk, for people; "" where nothing was."""
        notes = []
        if self.level:
            side, quality = LEVELS[self.level]
            notes.append(f"frames are stored {side} pixels long at most, at JPEG quality {quality}")
        if self.every > 1:
            notes.append(f"one frame of {self.every} is stored, and the boxes of all")
        return "; ".join(notes)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the picture of each frame, empty where there is none, in the room that there is.

        Frames that are much busier than the sampled ones are shrunk further.
        """
        left = self._room
        for index, shot in enumerate(self._shots):
            picture = b""
            if index % self.every == 0 and (whole := self._picture(shot)):
                coming = -(-(len(self._shots) - index) // self.every)
                picture = self._fitting(whole, min(left, 4 * left // coming))
                left -= len(picture)
            yield picture

    def _picture(self, shot: Sequence[int]) -> bytes | None:
        """Return the first picture among pairs that show the same frame."""
        return next((picture for pair in shot if (picture := self._pictures(pair))), None)

    def _fitting(self, picture: bytes, most: int) -> bytes:
        """Return a picture in at most so many bytes; empty where it cannot be."""
        smaller = (_recode(picture, level) for level in range(self.level, len(LEVELS)))
        return next((small for small in smaller if len(small) <= most), b"")


def _recode(picture: bytes, level: int) -> bytes:
    """Return a JPEG again, smaller; empty where it is damaged."""
    if level == 0:
        return picture
    side, quality = LEVELS[level]
    # The decoder halves for free, which is half of the time for long runs.
    flag = cv2.IMREAD_REDUCED_COLOR_2 if side * 2 <= LEVELS[0][0] else cv2.IMREAD_COLOR
    decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), flag)
    return b"" if decoded is None else _encode(decoded, side, quality)


def _encode(bgr: np.ndarray, side: int, quality: int) -> bytes:
    height, width = bgr.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    fine, data = cv2.imencode(".jpg", bgr, (*_OPTIONS, quality))
    if not fine:
        raise ValueError(f"a frame must be an image to become a JPEG, got shape {bgr.shape}")
    return data.tobytes()
