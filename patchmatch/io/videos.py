"""The frames of a video, each the same however it is reached."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patchmatch.errors import InputError
from patchmatch.io.files import require_file
from patchmatch.io.frames import FrameSequence

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")

# MPEG program streams do not state their length, and what OpenCV guesses is too short.
_COUNTED_SUFFIXES = (".mpg", ".mpeg")
# Captures that a fork left in this process. Their decoder threads stayed behind, so closing them
# could wait for ever: they are kept until the process ends.
_INHERITED: list[cv2.VideoCapture] = []


class VideoSequence(FrameSequence):
    """The frames of a video file, upright, ``(H, W, 3)`` RGB of uint8.

    Reading in order is fast. A step back seeks where the time stamps prove that the right frame
    was reached, and otherwise decodes from the start; a step forward decodes what lies between.
    The length is what the file states; where it states none, or nonsense, frames are counted.

    Args:
        path: The video.
        name: The name of the sequence, by default the stem of the file.

    Raises:
        InputError: If the file is missing or holds no video that OpenCV can decode.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self._times: list[float] = []  # milliseconds, of the frames met so far
        self._times_increase = True
        self._capture: cv2.VideoCapture | None = None
        self._owner = 0  # the process that opened the capture
        self._position = -1  # index of the frame grabbed last
        self._last: tuple[int, np.ndarray] | None = None
        require_file(self.path)
        self._length = self._measure()

    def __len__(self) -> int:
        return self._length

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to equal width of at least six digits."""
        self._require_index(index)
        return f"{index:0{max(6, len(str(len(self) - 1)))}d}"

    def read(self, index: int) -> np.ndarray:
        """Return a frame; asking for the same one again costs no decoding."""
        self._require_index(index)
        if self._last is None or self._last[0] != index:
            ok, image = self._capture_at(index).retrieve()
            if not ok:
                raise self._cut_off(index)
            self._last = (index, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return self._last[1].copy()

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._capture is not None and self._owner == os.getpid():
            self._capture.release()
        elif self._capture is not None:
            _INHERITED.append(self._capture)
        self._capture, self._position = None, -1

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file and the pixels out: every process opens its own."""
        return self.__dict__ | {"_capture": None, "_owner": 0, "_position": -1, "_last": None}

    def _open(self) -> cv2.VideoCapture:
        """Open the file at its start."""
        self.close()
        # The backend is named because others would take "frame_%d.avi" for a pattern, and the
        # path is absolute because FFmpeg would take "a:b.mp4" for a protocol.
        known = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
        backend = cv2.CAP_FFMPEG if known else cv2.CAP_ANY
        capture = cv2.VideoCapture(str(self.path.absolute()), backend)
        if not capture.isOpened():
            require_file(self.path)  # it may have gone since
            raise InputError(
                f"{self.path}: cannot be read as a video; it is damaged, cut off or in a codec "
                "that OpenCV lacks: convert it with ffmpeg"
            )
        self._capture, self._owner = capture, os.getpid()
        return capture

    def _measure(self) -> int:
        """Return the number of frames, counted where the file does not state it credibly."""
        capture = self._open()
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not capture.grab():
            self.close()
            raise InputError(f"{self.path}: the video holds no readable frame; convert it again")
        # Every frame takes a byte at least; unknown lengths come as zero or as huge numbers.
        credible = 0 < stated <= self.path.stat().st_size
        if credible and self.path.suffix.lower() not in _COUNTED_SUFFIXES:
            length = int(stated)
        else:
            length = 1
            while capture.grab():
                length += 1
        self.close()  # of many videos, only those being read are open
        return length

    def _capture_at(self, index: int) -> cv2.VideoCapture:
        """Return the open capture with frame ``index`` grabbed."""
        capture = self._capture
        if capture is None or self._owner != os.getpid():
            capture = self._open()
        if index < self._position and not self._step_back(capture, index):
            capture = self._open()
        while self._position < index:
            if not capture.grab():
                raise self._cut_off(index)
            self._position += 1
            if self._position == len(self._times):
                self._note_time(capture.get(cv2.CAP_PROP_POS_MSEC))
        return capture

    def _step_back(self, capture: cv2.VideoCapture, index: int) -> bool:
        """Seek to a frame met before; False where it is not certain that it was reached."""
        if not self._times_increase:
            return False
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        if not capture.grab() or capture.get(cv2.CAP_PROP_POS_MSEC) != self._times[index]:
            return False
        self._position = index
        return True

    def _note_time(self, time: float) -> None:
        self._times_increase &= not self._times or self._times[-1] < time
        self._times.append(time)

    def _cut_off(self, index: int) -> InputError:
        """Return the error for a frame that should be there, and start afresh next time."""
        readable = self._position + 1
        self.close()
        return InputError(
            f"{self.path} frame {index}: only {readable} of {len(self)} frames could be read; the "
            "video is cut off or damaged: copy it again, or convert it with ffmpeg"
        )
