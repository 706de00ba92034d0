"""Changes and motion between frames."""

import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from patchmatch.core.integers import coerce_integers
from patchmatch.frames.data import open_clips
from patchmatch.frames.dataset import Clips, LiveClips
from patchmatch.frames.results import FrameChanges
from patchmatch.io import read_image, to_gray_float
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.public.images import Image
from patchmatch.public.loading import load_matcher
from patchmatch.shift.matcher import ShiftMatcher


@coerce_integers
def load_shift_matcher(
    path: str | Path | None = None,
    *,
    block: int = 26,
    stride: int = 13,
    prior_still: float = 0.9,
    device: str | torch.device | None = None,
) -> ShiftMatcher:
    """Return a shift matcher that is ready to match.

    Args:
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        block: Side of a block of a frame in pixels.
        stride: Distance from one block to the next in pixels.
        prior_still: Share of blocks that are expected to stand still.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or not of a shift matcher.
    """
    settings = {"block": block, "stride": stride, "prior_still": prior_still}
    matcher = load_matcher(ShiftMatcher, path, settings, device)
    matcher.measurer = functools.partial(measure_motion, device=matcher.device)
    return matcher


@coerce_integers
def load_motion_matcher(
    path: str | Path | None = None,
    *,
    block: int = 32,
    radius: int = 6,
    camera: bool = False,
    min_matched: float = 0.5,
    device: str | torch.device | None = None,
) -> MotionMatcher:
    """Return a matcher that measures motion of any size.

    Args:
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        block: Side of a block of a frame in pixels, a multiple of 8 and at least 16.
        radius: Reach of the search in steps of eight pixels.
        camera: Whether the motion of the camera is estimated and left out of account.
        min_matched: Blocks less likely than this to be seen in the later frame are unmatched.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or not of a motion matcher.
    """
    settings = {"block": block, "radius": radius, "camera": camera, "min_matched": min_matched}
    return load_matcher(MotionMatcher, path, settings, device)


@coerce_integers
def measure_motion(
    frame0: Image,
    frame1: Image,
    block: int = 32,
    *,
    matcher: MotionMatcher | None = None,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Return how far every whole block of an image has moved in another one.

    Args:
        frame0: The earlier frame: a path, or what ``MotionMatcher.measure_motion`` takes.
        frame1: The later frame, of the same size.
        block: Side of a block in pixels, a multiple of 8 and at least 16.
        matcher: What to measure with; ``load_motion_matcher()`` if None.
        device: Where to compute, if no matcher is given.

    Returns:
        (rows, columns, 2) float on the CPU, dx and dy in pixels, rows from the top.
    """
    if matcher is None:
        matcher = _shipped_motion_matcher(None if device is None else str(device))
    frames = [
        to_gray_float(read_image(frame)) if isinstance(frame, str | Path) else frame
        for frame in (frame0, frame1)
    ]
    return matcher.measure_motion(frames[0], frames[1], block)


@functools.cache
def _shipped_motion_matcher(device: str | None) -> MotionMatcher:
    return load_motion_matcher(device=device)


@coerce_integers
def predict_frames(
    source: str | Path,
    *,
    matcher: ShiftMatcher | MotionMatcher | None = None,
    batch_size: int = 8,
    gaps: Sequence[int] = (1,),
    max_frames: int | None = None,
    **options: Any,
) -> Iterator[FrameChanges]:
    """Iterate over the changes of every frame pair, in order, in flat memory.

    Args:
        source: Folder of ordered frames, folder of such folders, video file, camera ("camera:0")
            or address of a stream.
        matcher: What to match with; ``load_shift_matcher(**options)`` if None, and
            ``load_motion_matcher()`` for motion of any size.
        batch_size: Frames that are read at once.
        gaps: Distances from the earlier to the later frame of a pair; (1, 2, 4) makes slow motion
            visible.
        max_frames: Frames of each sequence to read; None for all.
        options: Of ``load_shift_matcher``: path, block, stride, prior_still, device.

    Returns:
        An iterator over a ``FrameChanges`` for each pair; ``.top(k)`` gives the blocks that
        changed most.

    Raises:
        InputError: If the source holds no ordered frames. A frame that cannot be read is left out
            with a warning.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    gaps = tuple(gaps)
    if not gaps or min(gaps) < 1:
        raise ValueError(f"gaps must be numbers from 1 on, got {list(gaps)}")
    if matcher is None:
        matcher = load_shift_matcher(**options)
    elif options:
        raise ValueError(f"give a matcher or its options, not both: {', '.join(options)}")
    clips, notes = open_clips(str(source), batch_size, gaps, max_frames)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return _predict(matcher, clips)


def _predict(
    matcher: ShiftMatcher | MotionMatcher, clips: Clips | LiveClips
) -> Iterator[FrameChanges]:
    for index, clip in enumerate(clips):
        for note in clip["notes"]:
            warnings.warn(note, stacklevel=2)
        with torch.inference_mode():
            clip["frames"] = [frame.to(matcher.device) for frame in clip["frames"]]
            changes = matcher.predict_step(clip, index)
        yield from changes
