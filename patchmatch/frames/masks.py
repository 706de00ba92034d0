"""Masks that restrict which part of the frames is evaluated."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.frames.results import FrameChanges
from patchmatch.io import read_image, to_mask


@dataclass(frozen=True, kw_only=True)
class Masks:
    """The combined region of interest and ignore mask.

    Attributes:
        valid: (H, W) bool, True where changes count; None if no mask is given.
        files: The mask images, for messages.
    """

    valid: np.ndarray | None = None
    files: tuple[str, ...] = ()

    @classmethod
    def read(cls, roi: str | None, ignore: str | None) -> "Masks":
        """Read the mask images, see ``io.to_mask``.

        Args:
            roi: White where changes count; None for everywhere.
            ignore: White where changes are ignored; None for nowhere.

        Raises:
            InputError: If an image cannot be read, their sizes differ, or no valid pixel is left.
        """
        files = tuple(file for file in (roi, ignore) if file is not None)
        if not files:
            return cls()
        white = {file: to_mask(read_image(file)) for file in files}
        sizes = {file: _size(mask.shape) for file, mask in white.items()}
        if len(set(sizes.values())) > 1:
            got = ", ".join(f"{file} is {size}" for file, size in sizes.items())
            raise InputError(f"roi and ignore must have the size of the frames, but {got}")
        valid = np.ones_like(white[files[0]])
        if roi is not None:
            valid &= white[roi]
        if ignore is not None:
            valid &= ~white[ignore]
        if not valid.any():
            raise InputError(
                f"{', '.join(files)}: the masks exclude every pixel; draw roi white where changes "
                "count, and ignore white where they do not"
            )
        return cls(valid=valid, files=files)

    def require_size(self, shape: tuple[int, ...], source: str) -> None:
        """Raise InputError unless the masks have the size of the frames of a sequence."""
        if self.valid is not None and self.valid.shape != tuple(shape[:2]):
            raise InputError(
                f"{', '.join(self.files)}: a mask must have the size of the frames, but it is "
                f"{_size(self.valid.shape)} and the frames of {source} are {_size(shape)}; "
                "draw it on one of the frames"
            )

    def restrict(self, changes: FrameChanges) -> FrameChanges:
        """Return the blocks in the valid area, and the flow of its pixels."""
        inside = changes[self.contains(changes.boxes)]
        if self.valid is None or changes.flow is None:
            return inside
        outside = torch.from_numpy(~self.valid)
        return replace(inside, flow=changes.flow.masked_fill(outside, torch.nan))

    def contains(self, boxes: Tensor) -> Tensor:
        """Return which boxes have more than half of their pixels in the valid area, (N,) bool.

        Args:
            boxes: (N, 4) long, xyxy in pixels, half-open, inside the frames.
        """
        if self.valid is None:
            return torch.ones(len(boxes), dtype=torch.bool)
        height, width = self.valid.shape
        integral = np.zeros((height + 1, width + 1), np.int64)
        integral[1:, 1:] = self.valid.cumsum(axis=0).cumsum(axis=1)
        x0, y0, x1, y1 = boxes.numpy().T
        count = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
        return torch.from_numpy(2 * count > (x1 - x0) * (y1 - y0))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
