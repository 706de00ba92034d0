"""Moving objects in videos."""

from collections.abc import Iterator
from pathlib import Path

import torch

from patchmatch.core.messages import warn
from patchmatch.frames.data import open_clips
from patchmatch.objects.matcher import ObjectTracker
from patchmatch.objects.results import FrameObjects
from patchmatch.public.clips import predict_clips
from patchmatch.public.options import check_options, resolve_device

BATCH = 8  # frames read at once


@check_options
def track_objects(
    source: str | Path,
    *,
    camera: str | bool = "auto",
    shadows: bool = True,
    min_area: int | None = None,
    max_size: int = 800,
    max_frames: int | None = None,
    device: str | torch.device | None = None,
) -> Iterator[FrameObjects]:
    """Follow what moves through a video, in constant memory.

    Args:
        source: Folder of ordered frames, folder of such folders, video file, camera ("camera:0")
            or address of a stream.
        camera: Whether the camera moves: True, False, or "auto", which finds out.
        shadows: Whether shadows are left out.
        min_area: Pixels of the smallest object; None for 0.03% of the frame. Not below 20
            pixels of the reduced frame.
        max_size: Longest side in pixels to which frames are reduced before they are compared;
            results are in pixels of the frame.
        max_frames: Number of frames to read of each sequence; None for all.
        device: Device for the motion of a moving camera; by default CUDA if available.

    Returns:
        An iterator over one ``FrameObjects`` for every frame but the first of a sequence, those
        after an unreadable frame or a change of size, and those below 32 pixels.

    Raises:
        InputError: If the source has no ordered frames. A frame that cannot be read is left out
            with a warning.
    """
    matcher = ObjectTracker(camera, shadows, min_area, max_size).to(resolve_device(device))
    clips, notes = open_clips(str(source), BATCH, (1,), max_frames)
    for note in notes:
        warn(note)
    return predict_clips(matcher.predict_step, clips)
