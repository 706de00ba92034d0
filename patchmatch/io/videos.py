"""The frames of a video, each the same however it is reached."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.frames import FrameSequence
from patchmatch.io.video_decoding import Upright, good_frames, open_video
from patchmatch.io.video_index import index_video

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")

_FAR = 16  # frames; decoding fewer of them takes no longer than a seek


class VideoSequence(FrameSequence):
    """The frames of a video file, upright, ``(H, W, 3)`` RGB of uint8.

    The number of frames and their times come from reading the whole file once, not from what its
    header says. Reading in order decodes each frame once. Elsewhere, decoding starts at the
    keyframe before the frame, and the frame is recognised by its time stamp.

    Of a video that is cut off, the frames before the cut are there, and ``notes`` says so.
    Of one that is damaged in the middle, the frames up to the next keyframe cannot be read.

    Args:
        path: The video.
        name: The name of the sequence, by default the stem of the file.

    Raises:
        InputError: If the file is missing or holds no video that FFmpeg can decode.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self._index = index_video(self.path)
        self._damaged: set[int] = set()  # frames that could not be decoded
        self._last: tuple[int, np.ndarray] | None = None
        self._forget()

    def __len__(self) -> int:
        return self._index.count

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the video as a whole."""
        return (self._index.note,) if self._index.note else ()

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to equal width of at least six digits."""
        self._require_index(index)
        return f"{index:0{max(6, len(str(len(self) - 1)))}d}"

    def time(self, index: int) -> float | None:
        """Return when a frame is shown, in seconds after the first one."""
        self._require_index(index)
        return None if self._index.times is None else float(self._index.times[index])

    def read(self, index: int) -> np.ndarray:
        """Return a frame; asking for the same one again costs no decoding.

        Raises:
            InputError: If the frame is damaged; the message is the same for all frames of the
                video, so that it is told once.
        """
        self._require_index(index)
        if self._last is None or self._last[0] != index:
            self._last = (index, self._upright(self._decode(index)))
        return self._last[1].copy()

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._container is not None:
            self._container.close()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file and the pixels out: every process opens its own."""
        opened = ("_container", "_stream", "_frames", "_current", "_upright", "_last")
        return {name: value for name, value in self.__dict__.items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._last = None
        self._forget()

    def _forget(self) -> None:
        """Start with no file open."""
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._owner = 0  # the process that opened it: forks share one place in the file
        self._frames: Iterator[VideoFrame] = iter(())
        self._current: VideoFrame | None = None  # the frame decoded last
        self._position = -1  # its index
        self._upright = Upright()

    def _open(self) -> None:
        """Open the file at its start."""
        self.close()
        self._container, self._stream = open_video(self.path, self._index.strict)
        self._owner = os.getpid()
        self._frames = good_frames(self._container, self._stream)

    def _decode(self, index: int) -> VideoFrame:
        """Return a frame as it is stored."""
        if self._container is None or self._owner != os.getpid():
            self._open()
        if index in self._damaged:
            raise self._damage()
        if self._position > index or self._key_before(index) > self._position + _FAR:
            self._seek(index)
        while self._position < index and self._advance():
            pass
        if self._position != index or self._current is None:
            self._damaged.add(index)
            raise self._damage()
        return self._current

    def _advance(self) -> bool:
        """Decode the next frame of the index; False at the end of the file."""
        stamps = self._index.stamps
        for frame in self._frames:
            if stamps is None:
                place = self._position + 1
            elif frame.pts is None:
                continue
            else:
                place = int(np.searchsorted(stamps, frame.pts))
                if place == len(stamps) or stamps[place] != frame.pts or place <= self._position:
                    continue  # not a frame of the index: one after a cut, for example
            self._current, self._position = frame, place
            return True
        return False

    def _key_before(self, index: int, skip: int = 0) -> int:
        """Return the last keyframe up to a frame, or the one so many before it; -1 for none."""
        place = int(np.searchsorted(self._index.keys, index, side="right")) - 1 - skip
        return int(self._index.keys[place]) if place >= 0 else -1

    def _seek(self, index: int) -> None:
        """Move to a keyframe up to ``index``, or to the start where none is surely reached.

        Some containers look for the time of decoding, others for that of display, so a seek may
        land one keyframe late: then the one before is tried.
        """
        for skip in (0, 1):
            key = self._key_before(index, skip)
            if key <= 0 or self._index.stamps is None or self._container is None:
                break
            try:
                self._container.seek(int(self._index.stamps[key]), stream=self._stream)
            except (FFmpegError, OSError):
                break
            assert self._stream is not None
            self._frames = good_frames(self._container, self._stream, after_seek=True)
            self._current, self._position = None, -1
            if self._advance() and self._position <= index:
                return
        self._open()

    def _damage(self) -> InputError:
        return InputError(
            f"{self.path}: the video is damaged, and frames of it cannot be decoded; copy it "
            "again, or convert it with ffmpeg"
        )
