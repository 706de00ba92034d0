"""Random access to the frames of a video file."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.frames import FrameSequence
from patchmatch.io.video_decoding import RGBConverter, intact_frames, open_video
from patchmatch.io.video_index import index_video

# Candidates in a folder. FFmpeg determines the format from the content.
VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".m2t", ".wmv", ".asf", ".flv", ".f4v"),
    *(".3gp", ".3g2", ".ogv", ".ogm", ".vob", ".mxf", ".dv", ".qt"),
    *(".divx", ".rm", ".rmvb", ".nut", ".ivf", ".dav", ".mjpg", ".mjpeg"),
    *(".mpe", ".m1v", ".m2v", ".h264", ".264", ".avc", ".h265", ".265"),
    *(".hevc", ".y4m"),
)

_SEEK_DISTANCE = 16  # frames; decoding fewer is as fast as a seek


class VideoSequence(FrameSequence):
    """The frames of a video file, ``(H, W, 3)`` RGB uint8.

    The number of frames and their times are determined by reading the whole file once, not from
    its header. Sequential reading decodes each frame once. Random access decodes from the previous
    keyframe and identifies the frame by its time stamp, so a frame does not depend on the order of
    reading.

    A truncated video has the frames before the cut, and a warning in ``notes``. After damage, the
    frames up to the next keyframe cannot be read.

    Args:
        path: The video.
        name: Name of the sequence; the stem of the file by default.

    Raises:
        InputError: If the file is missing or has no video that FFmpeg can decode.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self._index = index_video(self.path)
        self._damaged: set[int] = set()  # frames that could not be decoded
        self._last: tuple[int, np.ndarray] | None = None
        self._reset()

    def __len__(self) -> int:
        return self._index.count

    @property
    def files(self) -> Sequence[Path]:
        """The video."""
        return (self.path,)

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the video as a whole."""
        return (self._index.note,) if self._index.note else ()

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to at least six digits."""
        self._require_index(index)
        return f"{index:0{max(6, len(str(len(self) - 1)))}d}"

    def time(self, index: int) -> float | None:
        """Return the display time of a frame in seconds after the first one; None if unknown."""
        self._require_index(index)
        return None if self._index.times is None else float(self._index.times[index])

    def read(self, index: int) -> np.ndarray:
        """Return a frame; the last one is cached.

        Raises:
            InputError: If the frame is damaged. The message is the same for all frames of the
                video, so that it is reported once.
        """
        self._require_index(index)
        if self._last is None or self._last[0] != index:
            self._last = (index, self._to_rgb(self._decode(index)))
        return self._last[1].copy()

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._container is not None:
            self._container.close()
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without open files and pixels; every process opens its own."""
        opened = ("_container", "_stream", "_frames", "_current", "_to_rgb", "_last")
        return {name: value for name, value in self.__dict__.items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._last = None
        self._reset()

    def _reset(self) -> None:
        """Set the state of a closed file."""
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._owner = 0  # id of the process that opened it: forks share the file position
        self._frames: Iterator[VideoFrame] = iter(())
        self._current: VideoFrame | None = None  # the last decoded frame
        self._position = -1  # its index
        self._to_rgb = RGBConverter()

    def _open(self) -> None:
        """Open the file at its start."""
        self.close()
        self._container, self._stream = open_video(self.path, self._index.strict)
        self._owner = os.getpid()
        self._frames = intact_frames(self._container, self._stream)

    def _decode(self, index: int) -> VideoFrame:
        """Return a decoded frame."""
        if self._container is None or self._owner != os.getpid():
            self._open()
        if index in self._damaged:
            raise self._damage_error()
        if self._position > index or self._keyframe_before(index) > self._position + _SEEK_DISTANCE:
            self._seek(index)
        while self._position < index and self._advance():
            pass
        if self._position != index or self._current is None:
            self._damaged.add(index)
            raise self._damage_error()
        return self._current

    def _advance(self) -> bool:
        """Decode the next frame of the index; return False at the end of the file."""
        stamps = self._index.stamps
        for frame in self._frames:
            if stamps is None:
                position = self._position + 1
            elif frame.pts is None:
                continue
            else:
                position = int(np.searchsorted(stamps, frame.pts))
                in_index = position < len(stamps) and stamps[position] == frame.pts
                if not in_index or position <= self._position:
                    continue  # for example a frame after the cut of a truncated video
            self._current, self._position = frame, position
            return True
        return False

    def _keyframe_before(self, index: int, skip: int = 0) -> int:
        """Return the last keyframe up to ``index``, or the one ``skip`` before it; -1 if none."""
        number = int(np.searchsorted(self._index.keys, index, side="right")) - 1 - skip
        return int(self._index.keys[number]) if number >= 0 else -1

    def _seek(self, index: int) -> None:
        """Seek to a keyframe up to ``index``, or to the start if that fails.

        Some containers seek by decoding time, others by display time, so a seek may end one
        keyframe late. Then the keyframe before is tried.
        """
        for skip in (0, 1):
            key = self._keyframe_before(index, skip)
            if key <= 0 or self._index.stamps is None or self._container is None:
                break
            try:
                self._container.seek(int(self._index.stamps[key]), stream=self._stream)
            except (FFmpegError, OSError):
                break
            assert self._stream is not None
            self._frames = intact_frames(self._container, self._stream, after_seek=True)
            self._current, self._position = None, -1
            if self._advance() and self._position <= index:
                return
        self._open()

    def _damage_error(self) -> InputError:
        return InputError(
            f"{self.path}: the video is damaged and some frames cannot be decoded; copy it "
            "again, or convert it with ffmpeg"
        )
