"""The batch of data modules of frames."""

from typing import TypedDict

import numpy as np
from torch import Tensor


class Clip(TypedDict):
    """Consecutive frames of one sequence."""

    index: int  #: position of the clip in the run, whether or not clips are skipped
    source: str  #: name of the sequence
    several: bool  #: whether the run has more than one sequence
    frames: list[Tensor]  #: T of (1, H, W), float32 gray in [0, 1]; sizes may differ
    images: list[np.ndarray]  #: T frames as read, (H, W) or (H, W, 3) RGB
    names: list[str]  #: T names of frames, unique within the sequence
    numbers: list[int]  #: T positions of the frames in the sequence, from 0
    files: list[str | None]  #: T names of their image files; None for a frame of a video or camera
    times: list[float | None]  #: T times in seconds from the start; None where unknown
    #: P index pairs (earlier, later) into the T frames, sorted by the later; both have one size
    pairs: list[tuple[int, int]]
    notes: list[str]  #: a line for each frame or pair that was skipped, with the reason
