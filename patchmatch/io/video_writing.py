"""Writing of H.264 videos that browsers can play."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.video.frame import VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import atomic_path
from patchmatch.io.images import to_rgb_uint8

_TICKS = 90_000  # time stamps per second, a multiple of 24, 25, 30 and 60


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float = 25.0,
    times: Iterable[float] | None = None,
    quality: int = 18,
) -> int:
    """Write frames as H.264 in MP4 atomically, one frame at a time.

    An odd height or width is padded by repeating the last row or column, because H.264 stores
    chroma at half resolution.

    Args:
        path: The file, with suffix .mp4.
        frames: At least one image as from ``read_image``, all of the same size.
        fps: Frames per second.
        times: Increasing display times of the frames in seconds; ``fps`` then only sets the
            duration of the last frame.
        quality: Constant rate factor of x264, from 0 (best) to 51.

    Returns:
        The number of frames written.

    Raises:
        ValueError: If there are no frames, sizes differ, or times do not increase.
        InputError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"path must end in .mp4, got {path.name}")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be in (0, 1000], got {fps}")
    if not 0 <= quality <= 51:
        raise ValueError(f"quality must be in [0, 51], got {quality}")
    try:
        Codec("libx264", "w")
    except UnknownCodecError as error:
        raise InputError(
            f"{path}: cannot be written: PyAV has no H.264 encoder; run pip install av"
        ) from error
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"a video must have at least one frame, got none for {path.name}")
    stamps = _stamps(fps, times)
    # the preset takes a third of the time of the default one; the quality is that of crf
    settings = {"crf": str(quality), "preset": "veryfast"}
    # faststart: the index comes first, so that browsers can play while downloading
    with (
        atomic_path(path) as temporary,
        av.open(
            str(temporary), "w", format="mp4", container_options={"movflags": "+faststart"}
        ) as container,
    ):
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options=settings
        )
        height, width = first.shape[:2]
        _configure(stream, height, width)
        count, reformatter = 0, VideoReformatter()
        for image in itertools.chain([first], images):
            if image.shape[:2] != (height, width):
                raise ValueError(
                    f"all frames must be {width}x{height} pixels like the first one, got "
                    f"{image.shape[1]}x{image.shape[0]} for frame {count}"
                )
            frame = _to_frame(image, reformatter)
            frame.pts, frame.time_base = next(stamps), Fraction(1, _TICKS)
            frame.duration = round(_TICKS / fps)
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode())
    return count


def _stamps(fps: float, times: Iterable[float] | None) -> Iterator[int]:
    """Yield the time stamps of frames in ticks."""
    if times is None:
        yield from (round(index * _TICKS / fps) for index in itertools.count())
        return
    start, last = None, -1
    for time in times:
        start = time if start is None else start
        stamp = round((time - start) * _TICKS)
        if stamp <= last:
            raise ValueError(
                f"times must increase from frame to frame, got {time} after a later or equal time"
            )
        yield stamp
        last = stamp
    raise ValueError("times must have a value for each frame, got fewer times than frames")


def _configure(stream: VideoStream, height: int, width: int) -> None:
    """Set the frame size and the colour space of an encoder."""
    stream.height, stream.width = height + height % 2, width + width % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, _TICKS)
    # Otherwise players guess it from the frame size.
    context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
    context.color_trc, context.color_range = ColorTrc.BT709, ColorRange.MPEG


def _to_frame(image: np.ndarray, reformatter: VideoReformatter) -> VideoFrame:
    """Convert an image to YUV 4:2:0 of even height and width."""
    rgb = to_rgb_uint8(image)
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return reformatter.reformat(
        VideoFrame.from_ndarray(rgb, format="rgb24"),
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        threads=1,  # more wait for each other longer than a frame takes
    )
