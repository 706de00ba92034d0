"""Changes and motion between frames."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.clips import Clip
from patchmatch.core.messages import warn
from patchmatch.frames.data import open_clips
from patchmatch.frames.results import DenseFlow, FrameChanges, PatchMatches
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.public.clips import predict_clips
from patchmatch.public.images import Image, scaled, to_tensors
from patchmatch.public.loading import load_matcher
from patchmatch.public.options import check_options, require_options
from patchmatch.shift.matcher import ShiftMatcher


@dataclass(frozen=True, kw_only=True)
class LoadedMotionMatcher:
    """A motion matcher with its weights, for images in any form.

    Attributes:
        matcher: The LightningModule, which takes tensors only.
    """

    matcher: MotionMatcher

    @check_options
    def measure_motion(self, frame0: Image, frame1: Image, block: int = 32) -> Tensor:
        """Return the displacement of every whole block, see ``patchmatch.measure_motion``."""
        first, second = to_tensors({"frame0": frame0, "frame1": frame1})
        return self.matcher.measure_motion(first, second, block)

    @check_options
    def measure_flow(self, frame0: Image, frame1: Image) -> DenseFlow:
        """Return the displacement of every pixel, see ``patchmatch.measure_flow``."""
        first, second = to_tensors({"frame0": frame0, "frame1": frame1})
        return self.matcher.measure_flow(first, second)


@dataclass(frozen=True, kw_only=True)
class LoadedShiftMatcher:
    """A shift matcher with its weights, for images in any form, beside a motion matcher.

    Attributes:
        matcher: The LightningModule, which takes tensors only.
    """

    matcher: ShiftMatcher

    @property
    def motion(self) -> LoadedMotionMatcher:
        """The shipped motion matcher on the same device; it is loaded when it is first used."""
        return _shipped_motion_matcher(str(self.matcher.device))

    def match_patches(
        self, patches0: np.ndarray | Tensor, patches1: np.ndarray | Tensor
    ) -> PatchMatches:
        """Find the shift, at most one pixel in x and in y, between each patch and its partner.

        Args:
            patches0: (N, 1, S, S) gray patches, S = 26 in training: float in [0, 1], uint8 or
                uint16.
            patches1: Their partners, of the same shape.

        Returns:
            Displacements (N, 2) as dx, dy with ``patches0[y, x]`` like ``patches1[y + dy, x +
            dx]``, kinds (N,) and scores (N,), on the CPU.

        Raises:
            ValueError: If the shapes differ or are not supported, or a value is NaN, infinite or
                out of range.
        """
        patches = (scaled(p, f"patches{i}") for i, p in enumerate((patches0, patches1)))
        return self.matcher.match_patches(*patches)

    def measure_motion(self, frame0: Image, frame1: Image, block: int = 32) -> Tensor:
        """Return the displacement, of any size, of every whole block by the motion matcher."""
        return self.motion.measure_motion(frame0, frame1, block)

    def measure_flow(self, frame0: Image, frame1: Image) -> DenseFlow:
        """Return the displacement of every pixel by the motion matcher."""
        return self.motion.measure_flow(frame0, frame1)


@check_options
def load_shift_matcher(
    path: str | Path | None = None,
    *,
    block: int = 26,
    stride: int = 13,
    prior_still: float = 0.9,
    device: str | torch.device | None = None,
) -> LoadedShiftMatcher:
    """Load a shift matcher.

    Args:
        path: A checkpoint written by ``patchmatch fit``; None for the shipped weights.
        block: Side of a block of a frame in pixels.
        stride: Distance from one block to the next in pixels.
        prior_still: Prior probability that a block does not move.
        device: Device to compute on; by default CUDA if available.

    Raises:
        InputError: If the checkpoint is missing, damaged or of another class.
    """
    settings = {"block": block, "stride": stride, "prior_still": prior_still}
    return LoadedShiftMatcher(matcher=load_matcher(ShiftMatcher, path, settings, device))


@check_options
def load_motion_matcher(
    path: str | Path | None = None,
    *,
    block: int = 32,
    radius: int | None = None,
    camera: bool = False,
    min_matched: float = 0.5,
    device: str | torch.device | None = None,
) -> LoadedMotionMatcher:
    """Load a motion matcher, which measures displacements of any size.

    Args:
        path: A checkpoint written by ``patchmatch fit``; None for the shipped weights.
        block: Side of a block of a frame in pixels, a multiple of 8 and at least 16.
        radius: Search radius in steps of eight pixels; by default a quarter of the width of the
            frames, at least 48 and at most 160 pixels.
        camera: Whether to estimate the motion of the camera and subtract it.
        min_matched: Blocks with a smaller probability of being visible in the later frame are
            unmatched.
        device: Device to compute on; by default CUDA if available.

    Raises:
        InputError: If the checkpoint is missing, damaged or of another class.
    """
    settings = {"block": block, "radius": radius, "camera": camera, "min_matched": min_matched}
    return LoadedMotionMatcher(matcher=load_matcher(MotionMatcher, path, settings, device))


@check_options
def measure_motion(
    frame0: Image,
    frame1: Image,
    block: int = 32,
    *,
    matcher: LoadedMotionMatcher | LoadedShiftMatcher | MotionMatcher | None = None,
    device: str | torch.device | None = None,
) -> Tensor:
    """Measure how far every whole block of an image has moved in another one.

    Args:
        frame0: The earlier frame: a path, an array (H, W) or (H, W, 3), a PIL image or a tensor.
        frame1: The later frame, of the same size.
        block: Side of a block in pixels, a multiple of 8 and at least 16.
        matcher: The motion matcher; ``load_motion_matcher()`` if None.
        device: Device to compute on if no matcher is given.

    Returns:
        (rows, columns, 2) float on the CPU, dx and dy in pixels, rows from the top.

    Raises:
        ValueError: If a frame is not an image, the sizes differ, or no block fits.
        InputError: If a file cannot be read.
    """
    return _matcher_or_shipped(matcher, device).measure_motion(frame0, frame1, block)


@check_options
def measure_flow(
    frame0: Image,
    frame1: Image,
    *,
    matcher: LoadedMotionMatcher | LoadedShiftMatcher | MotionMatcher | None = None,
    device: str | torch.device | None = None,
) -> DenseFlow:
    """Measure how far every pixel of an image has moved in another one: its optical flow.

    Args:
        frame0: The earlier frame: a path, an array (H, W) or (H, W, 3), a PIL image or a tensor.
        frame1: The later frame, of the same size.
        matcher: The motion matcher; ``load_motion_matcher()`` if None.
        device: Device to compute on if no matcher is given.

    Returns:
        The flow, (2, H, W) float, dx and dy in pixels, and its confidence, (H, W) float in [0, 1],
        both on the CPU.

    Raises:
        ValueError: If a frame is not an image, the sizes differ, or a frame is smaller than 16
            x 16 pixels.
        InputError: If a file cannot be read.
    """
    return _matcher_or_shipped(matcher, device).measure_flow(frame0, frame1)


def _matcher_or_shipped(
    matcher: LoadedMotionMatcher | LoadedShiftMatcher | MotionMatcher | None,
    device: str | torch.device | None,
) -> LoadedMotionMatcher | LoadedShiftMatcher:
    if matcher is None:
        return _shipped_motion_matcher(None if device is None else str(device))
    if isinstance(matcher, MotionMatcher):
        return LoadedMotionMatcher(matcher=matcher)
    return matcher


@functools.cache
def _shipped_motion_matcher(device: str | None) -> LoadedMotionMatcher:
    return load_motion_matcher(device=device)


@check_options
def predict_frames(
    source: str | Path,
    *,
    matcher: LoadedShiftMatcher | LoadedMotionMatcher | ShiftMatcher | MotionMatcher | None = None,
    batch_size: int = 8,
    gaps: Sequence[int] = (1,),
    max_frames: int | None = None,
    **options: Any,
) -> Iterator[FrameChanges]:
    """Iterate over the changes of every frame pair, in order, in constant memory.

    Args:
        source: Folder of ordered frames, folder of such folders, video file, camera ("camera:0")
            or address of a stream.
        matcher: The matcher; ``load_shift_matcher(**options)`` if None. Use
            ``load_motion_matcher()`` for motion of any size.
        batch_size: Number of frames read at once.
        gaps: Distances from the earlier to the later frame of a pair; (1, 2, 4) makes slow motion
            visible.
        max_frames: Number of frames to read of each sequence; None for all.
        options: Options of ``load_shift_matcher``: path, block, stride, prior_still, device.

    Returns:
        An iterator over one ``FrameChanges`` per pair; ``.top(k)`` returns the k blocks that
        changed most.

    Raises:
        InputError: If the source has no ordered frames. A frame that cannot be read is left out
            with a warning.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    gaps = tuple(gaps)
    if not gaps or min(gaps) < 1:
        raise ValueError(f"gaps must be integers of at least 1, got {list(gaps)}")
    if matcher is None:
        require_options("predict_frames", options, [load_shift_matcher])
        matcher = load_shift_matcher(**options)
    elif options:
        raise ValueError(f"expected a matcher or its options, got both: {', '.join(options)}")
    if isinstance(matcher, LoadedShiftMatcher | LoadedMotionMatcher):
        matcher = matcher.matcher
    clips, notes = open_clips(str(source), batch_size, gaps, max_frames)
    for note in notes:
        warn(note)

    def predict_step(clip: Clip, index: int) -> list[FrameChanges]:
        clip["frames"] = [frame.to(matcher.device) for frame in clip["frames"]]
        return matcher.predict_step(clip, index)

    return predict_clips(predict_step, clips)
