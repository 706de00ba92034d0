"""The moving objects of a frame."""

from dataclasses import dataclass

import torch
from torch import Tensor

from patchmatch.core.results import Result


@dataclass(frozen=True, kw_only=True, repr=False)
class FrameObjects(Result):
    """The N objects of a frame, and those that may turn out to be objects.

    Attributes:
        source: Name of the sequence.
        frame: Name of the frame.
        time: Seconds from the start; None if unknown.
        track: (N,) long, numbers of the tracks, from 1, unique within the sequence.
        boxes: (N, 4) float, xyxy in pixels, half-open; hidden parts of an object are included.
        displacement: (N, 2) float, dx and dy in pixels from the frame before to this one, without
            the motion of the camera.
        area: (N,) long, visible pixels; 0 while an object is hidden.
        score: (N,) float in [0, 1): d / (d + 2) with the mean distance d of its pixels from the
            background, in units of the distance from which a pixel differs.
        moved: (N,) bool, whether the object has moved since it was first seen, in this frame or in
            a later one that is known already. The others may be noise, leaves or a change of light.
        labels: (H, W) int32, the number of the track that each pixel belongs to, 0 for none.
        camera: (3, 3) float, the homography from the frame before to this one; None if the camera
            stands still.
    """

    source: str
    frame: str
    time: float | None
    track: Tensor
    boxes: Tensor
    displacement: Tensor
    area: Tensor
    score: Tensor
    moved: Tensor
    labels: Tensor
    camera: Tensor | None = None

    def __len__(self) -> int:
        return len(self.track)

    @property
    def mask(self) -> Tensor:
        """(H, W) bool, the pixels of the objects that have moved."""
        return torch.isin(self.labels, self.track[self.moved].to(self.labels.dtype))
