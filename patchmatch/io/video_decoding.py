"""Opening and decoding of videos: intact frames only, converted to upright RGB arrays."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.files import require_file

_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg renders text files as videos


def open_video(path: Path, strict: bool = True) -> tuple[InputContainer, VideoStream]:
    """Open a video file at its start.

    Args:
        path: The file.
        strict: Make the decoder raise an error for a damaged frame instead of concealing the
            damage.

    Returns:
        The open container, which the caller must close, and its main video stream.

    Raises:
        InputError: If the file is missing or empty, or has no video that can be decoded.
    """
    require_file(path)
    try:
        # The path is absolute because FFmpeg would parse "a:b.mp4" as a protocol. Other protocols
        # are disabled because an untrusted file could refer to any URL.
        container = av.open(
            str(path.absolute()),
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: its name is not UTF-8, as FFmpeg requires; rename it") from error
    except (FFmpegError, OSError) as error:
        require_file(path)  # it may have been removed meanwhile
        if not os.access(path, os.R_OK):
            raise InputError(
                f"{path}: permission denied; change the permissions of the file"
            ) from error
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty; copy or create it again") from error
        raise InputError(
            f"{path}: cannot be read as a video: it is damaged, truncated or in an unknown format; "
            "copy it again, or convert it with ffmpeg"
        ) from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise InputError(f"{path}: expected a video, got text; choose another file")
    try:
        return container, main_stream(container, str(path), strict)
    except InputError:
        container.close()
        raise


def main_stream(container: InputContainer, label: str, strict: bool = False) -> VideoStream:
    """Return the main video stream of a container, configured for decoding.

    Args:
        container: An open container.
        label: Name of the source in messages.
        strict: As in ``open_video``.

    Raises:
        InputError: If there is no video stream, or no decoder for it.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        types = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{label}: expected a video stream, got {types}; choose another file")
    if stream.codec_context is None:
        raise InputError(
            f"{label}: FFmpeg has no decoder for this video; convert it, for example to H.264"
        )
    # One thread: a forked process would wait forever for the threads of the decoder when it frees
    # the decoder, and with several threads errors are reported some frames late.
    stream.codec_context.thread_count = 1
    if strict:
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


def intact_frames(
    container: InputContainer,
    stream: VideoStream,
    after_seek: bool = False,
    end_on_error: bool = True,
) -> Iterator[VideoFrame]:
    """Decode from the current position of a container, in display order, without damaged frames.

    After damage, a decoder predicts from missing reference frames, and its output is plausible but
    wrong. Therefore all frames stored from the damage to the next keyframe are skipped, and after
    a seek all frames before the first keyframe.

    Args:
        container: An open container.
        stream: The video stream to decode.
        after_seek: Whether ``container.seek`` was called.
        end_on_error: Whether an error of the container ends the iteration instead of being raised.

    Yields:
        The intact frames.

    Raises:
        FFmpegError: If the container cannot be read further and ``end_on_error`` is False.
    """
    packets = container.demux(stream)
    damaged = after_seek
    pending: set[int | None] = set()  # time stamps of packets whose frames are not yet decoded
    stored_before: set[int | None] = set()  # those of them that precede the damage
    failed: set[int | None] = set()  # time stamps of packets that could not be decoded
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError):
            if end_on_error:
                return
            raise
        if packet is None:
            return
        frames = []
        try:
            if packet.is_corrupt:
                raise InvalidDataError(0, "incomplete")
            frames = packet.decode()
        except (FFmpegError, OSError):
            stored_before = stored_before if damaged else set(pending)
            failed.add(packet.pts)
            damaged = True
        else:
            pending.add(packet.pts)
        for frame in frames:
            pending.discard(frame.pts)
            is_intact_key = frame.key_frame and frame.pts not in failed
            damaged = frame.is_corrupt or (damaged and not is_intact_key)
            if not damaged or frame.pts in stored_before:
                yield frame


class RGBConverter:
    """Converts decoded frames to RGB arrays and applies the display matrix."""

    def __init__(self) -> None:
        self._convert = functools.partial(VideoReformatter().reformat, format="rgb24")

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Return ``(H, W, 3)`` RGB uint8, rotated and mirrored according to the file."""
        image = self._convert(frame).to_ndarray()
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return np.ascontiguousarray(image)
        # The matrix is a b u c d v ...; pixel (x, y) is displayed at (a x + c y, b x + d y).
        a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.transpose(1, 0, 2), c, b  # (W, H, 3): swap x and y
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
