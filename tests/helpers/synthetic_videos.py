"""Synthetic videos; the color and a bar of each frame encode its number."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from patchmatch.io import VideoSequence

COUNT, HEIGHT, WIDTH = 40, 48, 80
CODECS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".m4v": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
    ".mpg": "PIM1",
    ".mpeg": "MPG2",
}


def numbered_frame(index: int) -> np.ndarray:
    """Return the frame of an index as BGR."""
    image = np.full((HEIGHT, WIDTH, 3), (20, 60, (40 + 5 * index) % 256), np.uint8)
    image[:10, index % WIDTH : index % WIDTH + 20] = 250
    return image


def write_with_opencv(path: Path, count: int = COUNT) -> Path:
    """Write frames with the usual codec of the suffix at 25 frames per second."""
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), codec, 25, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(count):
        writer.write(numbered_frame(index))
    writer.release()
    return path


def write_h264(
    path: Path, stamps: list[int], rate=30, tick=Fraction(1, 1000), options=None
) -> None:
    """Write an H.264 video with a frame at each time stamp."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = tick
        for index, stamp in enumerate(stamps):
            image = np.ascontiguousarray(numbered_frame(index)[..., ::-1])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_all(path: Path) -> list[np.ndarray]:
    """Read all frames of a video in order."""
    video = VideoSequence(path)
    return [video.read(index) for index in range(len(video))]
