"""Clips of frames in memory, as matchers expect them from the data modules."""

from collections.abc import Sequence

import numpy as np
import torch

from patchmatch.core.clips import Clip


def clip_of(frames: Sequence[np.ndarray], device: torch.device) -> Clip:
    """Return the clip of consecutive pairs of gray frames, (H, W) on a scale of 0 to 255."""
    count = len(frames)
    return {
        "index": 0,
        "source": "",
        "several": False,
        "frames": [
            torch.from_numpy(frame.astype(np.float32) / 255)[None].to(device) for frame in frames
        ],
        "images": [],
        "names": [str(i) for i in range(count)],
        "numbers": list(range(count)),
        "files": [None] * count,
        "times": [None] * count,
        "pairs": [(i, i + 1) for i in range(count - 1)],
        "notes": [],
    }
