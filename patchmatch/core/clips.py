"""The batch of every data module that streams frames."""

from typing import TypedDict

import numpy as np
from torch import Tensor


class Clip(TypedDict):
    """A few frames of one sequence, in order; never of two sequences."""

    index: int  #: place of the clip in the run's order, whatever was left out or done before
    source: str  #: name of the sequence
    several: bool  #: whether the run has more than one sequence
    frames: list[Tensor]  #: T of (1, H, W), float32 gray in [0, 1]; sizes may differ
    images: list[np.ndarray]  #: T frames as they were read, (H, W) or (H, W, 3) RGB
    names: list[str]  #: T names of frames, unique within the sequence
    times: list[float | None]  #: T times in seconds from the start; None where not known
    pairs: list[
        tuple[int, int]
    ]  #: P indices (earlier, later) of frames of one size, by later frame
    notes: list[str]  #: a line for each frame or pair that had to be left out, and why
