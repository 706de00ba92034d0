"""Writing a video that every browser plays."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import atomic_path
from patchmatch.io.images import to_rgb_uint8

_TICKS = 90_000  # time stamps a second: divides evenly into 24, 25, 30 and 60 frames


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float = 25.0,
    times: Iterable[float] | None = None,
    quality: int = 18,
) -> int:
    """Write frames as H.264 in MP4, one at a time, by way of ``atomic_path``.

    A side of an odd number of pixels gets one more, a copy of its edge, because H.264 stores
    colours for every second pixel.

    Args:
        path: The file, ending in .mp4.
        frames: At least one image as ``read_image`` gives it, all of the same size.
        fps: Frames a second.
        times: Seconds at which the frames are shown, increasing, one for each; in place of
            ``fps``, which then tells how long the last frame is shown.
        quality: x264's constant rate factor, from 0, lossless but for rounded colours, to 51.

    Returns:
        The number of frames written.

    Raises:
        ValueError: If there is no frame, sizes differ, or times do not increase.
        InputError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"a video is written as .mp4, got {path.name}")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must lie in (0, 1000], got {fps}")
    if not 0 <= quality <= 51:
        raise ValueError(f"quality must lie in [0, 51], got {quality}")
    try:
        Codec("libx264", "w")
    except UnknownCodecError as error:
        raise InputError(
            f"{path}: cannot be written: this PyAV has no H.264 encoder; pip install av"
        ) from error
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"a video needs at least one frame, got none for {path.name}")
    stamps = _stamps(fps, times)
    # faststart: the table of frames comes first, so that a browser plays before it has all
    with (
        atomic_path(path) as temporary,
        av.open(
            str(temporary), "w", format="mp4", container_options={"movflags": "+faststart"}
        ) as container,
    ):
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(quality)}
        )
        height, width = first.shape[:2]
        _set_up(stream, height, width)
        count = 0
        for image in itertools.chain([first], images):
            if image.shape[:2] != (height, width):
                raise ValueError(
                    f"all frames must be {width}x{height} pixels as the first one, got "
                    f"{image.shape[1]}x{image.shape[0]} for frame {count}"
                )
            frame = _to_frame(image)
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
            raise ValueError(f"times must increase from frame to frame, got {time} again or later")
        yield stamp
        last = stamp
    raise ValueError("there must be a time for each frame, got fewer times than frames")


def _set_up(stream: VideoStream, height: int, width: int) -> None:
    """Tell an encoder the size, and by which formula colours are stored."""
    stream.height, stream.width = height + height % 2, width + width % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, _TICKS)
    # Stated, because players guess it from the size of the picture.
    context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
    context.color_trc, context.color_range = ColorTrc.BT709, ColorRange.MPEG


def _to_frame(image: np.ndarray) -> VideoFrame:
    """Return an image as an encoder takes it, of even height and width."""
    rgb = to_rgb_uint8(image)
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
