"""From a video file to its pictures: opening, decoding without the damaged, turning upright."""

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


def open_video(path: Path, strict: bool = True) -> tuple[InputContainer, VideoStream]:
    """Open a video file at its start.

    Args:
        path: The file.
        strict: Refuse frames with any fault that the decoder notices, instead of mending them by
            guess.

    Returns:
        The open container, for the caller to close, and its main video stream.

    Raises:
        InputError: If the file is missing, empty, or holds no video that can be decoded.
    """
    require_file(path)
    try:
        # The path is absolute because FFmpeg would take "a:b.mp4" for a protocol, and other
        # protocols are refused because a file of a stranger could name any address.
        container = av.open(
            str(path.absolute()),
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (FFmpegError, OSError) as error:
        require_file(path)  # it may have gone since
        if not os.access(path, os.R_OK):
            raise InputError(
                f"{path}: you may not read this file; change its permissions"
            ) from error
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty; copy or make it again") from error
        raise InputError(
            f"{path}: cannot be read as a video; it is damaged, cut off or in a format that "
            "FFmpeg lacks: copy it again, or convert it with ffmpeg"
        ) from error
    try:
        return container, main_stream(container, str(path), strict)
    except InputError:
        container.close()
        raise


def main_stream(container: InputContainer, shown: str, strict: bool = False) -> VideoStream:
    """Return the video stream that a player would show, ready to decode.

    Raises:
        InputError: If there is none, or none that can be decoded; it begins with ``shown``.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{shown}: holds no video but {held}; choose another file")
    if stream.codec_context is None:
        raise InputError(
            f"{shown}: the video is in a codec that FFmpeg lacks: convert it, to H.264 say"
        )
    # One thread: a process that was forked while a decoder had more would wait for them for ever
    # when it lets go of the decoder, and errors would come some frames late.
    stream.codec_context.thread_count = 1
    if strict:
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


def good_frames(
    container: InputContainer,
    stream: VideoStream,
    after_seek: bool = False,
    may_break: bool = True,
) -> Iterator[VideoFrame]:
    """Decode onwards from where the container stands, in the order of display.

    After damage a decoder goes on from pictures that it never had, and gives plausible frames
    that are wrong. So where it notices damage, all that is stored from there to the next keyframe
    is left out. A seek is treated alike: of the frames before the first keyframe, the decoder did
    not see all parents.

    Args:
        container: An open container.
        stream: The stream of it to decode.
        after_seek: Whether the container was moved since it was opened.
        may_break: Take a container that cannot be read on for one that ends there.

    Yields:
        The frames that are as they should be.

    Raises:
        FFmpegError: If the container cannot be read on and may not break.
    """
    packets = container.demux(stream)
    doubtful = after_seek
    waiting: set[int | None] = set()  # time stamps of packets whose frames are still to come
    sure: set[int | None] = set()  # those of them that were stored before the damage
    failed: set[int | None] = set()  # time stamps of packets that could not be decoded
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError):
            if may_break:
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
            sure = sure if doubtful else set(waiting)
            failed.add(packet.pts)
            doubtful = True
        else:
            waiting.add(packet.pts)
        for frame in frames:
            waiting.discard(frame.pts)
            fresh = frame.key_frame and frame.pts not in failed
            doubtful = frame.is_corrupt or (doubtful and not fresh)
            if not doubtful or frame.pts in sure:
                yield frame


class Upright:
    """Turns decoded frames into RGB arrays as a player would show them."""

    def __init__(self) -> None:
        self._convert = functools.partial(VideoReformatter().reformat, format="rgb24")

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Return the pixels, ``(H, W, 3)`` RGB of uint8, turned and mirrored as the file asks.

        Args:
            frame: A frame as it was decoded.
        """
        image = self._convert(frame).to_ndarray()
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return np.ascontiguousarray(image)
        # The place (x, y) is shown at (a x + c y, b x + d y), in the order a b u c d v.
        a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.transpose(1, 0, 2), c, b  # (W, H, 3): x and y change places
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
