"""Which part of the frames counts: pictures that are white there."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.io import read_image, to_gray_float


@dataclass(frozen=True)
class Masks:
    """The pixels that count.

    Attributes:
        usable: (H, W) bool; None where all pixels of frames of any size count.
        files: The pictures it was read from, for messages.
    """

    usable: np.ndarray | None = None
    files: tuple[str, ...] = ()

    @classmethod
    def read(cls, roi: str | None, ignore: str | None) -> "Masks":
        """Read the pictures.

        Args:
            roi: White, which is brighter than half, where changes count; None for everywhere.
            ignore: White where they do not count; None for nowhere.

        Raises:
            InputError: If a picture cannot be read, they differ in size, or no pixel is left.
        """
        files = tuple(file for file in (roi, ignore) if file is not None)
        if not files:
            return cls()
        white = {file: to_gray_float(read_image(file)) > 0.5 for file in files}
        sizes = {file: _size(mask.shape) for file, mask in white.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{file} is {size}" for file, size in sizes.items())
            raise InputError(f"roi and ignore must be as large as the frames, but {told}")
        usable = np.ones_like(white[files[0]])
        if roi is not None:
            usable &= white[roi]
        if ignore is not None:
            usable &= ~white[ignore]
        if not usable.any():
            raise InputError(
                f"{', '.join(files)}: no pixel is left to look at; a roi is white where changes "
                "count, and ignore is white where they do not"
            )
        return cls(usable, files)

    def require_size(self, shape: tuple[int, ...], source: str) -> None:
        """Raise InputError unless the masks are as large as the frames of a source."""
        if self.usable is not None and self.usable.shape != tuple(shape[:2]):
            raise InputError(
                f"{', '.join(self.files)}: a mask must be as large as the frames, but it is "
                f"{_size(self.usable.shape)} and the frames of {source} are {_size(shape)}; "
                "draw it on one of the frames"
            )

    def inside(self, boxes: Tensor) -> Tensor:
        """Return which boxes lie with more than half of their pixels where changes count.

        Args:
            boxes: (N, 4) long, xyxy in pixels, half-open, inside the frames.
        """
        if self.usable is None:
            return torch.ones(len(boxes), dtype=torch.bool)
        height, width = self.usable.shape
        sums = np.zeros((height + 1, width + 1), np.int64)  # of all pixels above and to the left
        sums[1:, 1:] = self.usable.cumsum(axis=0).cumsum(axis=1)
        x0, y0, x1, y1 = boxes.numpy().T
        count = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        return torch.from_numpy(2 * count > (x1 - x0) * (y1 - y0))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
