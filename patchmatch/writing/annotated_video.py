"""A video of the images that a run has written."""

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_ahead, read_image, to_rgb_uint8, write_video

DEFAULT_FPS, MIN_FPS, MAX_FPS = 25.0, 1.0, 120.0  # the range that players support


def frame_rate(times: Sequence[float | None]) -> float:
    """Return the frame rate of times in seconds; 25 where they do not determine it."""
    known = [time for time in times if time is not None]
    steps = [later - time for time, later in itertools.pairwise(known) if later > time]
    if not steps:
        return DEFAULT_FPS
    return min(max(round(1 / statistics.median(steps), 3), MIN_FPS), MAX_FPS)


def write_annotated_video(path: Path, images: Iterable[Path], fps: float) -> str | None:
    """Write a video of the images that have the size of the first one.

    Args:
        path: The .mp4 to write; not written if no image is readable.
        images: The image files, in order.
        fps: Frames per second.

    Returns:
        A note on skipped images, None if all are in the video.
    """
    reasons: list[str] = []
    frames = read_ahead(_equal_sized(images, reasons))
    first = next(frames, None)
    if first is not None:
        write_video(path, itertools.chain([first], frames), fps)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"skipped in {path.name}: {reasons[0]}{more}" if reasons else None


def _equal_sized(paths: Iterable[Path], reasons: list[str]) -> Iterator[np.ndarray]:
    """Yield the images that have the size of the first one; append why others are skipped."""
    size = None
    for path in paths:
        try:
            image = to_rgb_uint8(read_image(path))
        except InputError as error:
            reasons.append(str(error))
            continue
        size = size or image.shape
        if image.shape == size:
            yield image
        else:
            reasons.append(f"{path}: differs in size from the first image")
