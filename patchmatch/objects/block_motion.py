"""Displacements of blocks by the shipped motion matcher, loaded when they are first needed."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from patchmatch.core.checkpoints import load_trained, shipped_checkpoint
from patchmatch.motion.matcher import MotionMatcher

RADIUS = 6  # of the search, in units of 8 pixels


class BlockMotion:
    """Measures the displacements of blocks between two frames.

    Args:
        device: Returns the device to compute on.
    """

    def __init__(self, device: Callable[[], torch.device]) -> None:
        self._device = device
        self._matcher: MotionMatcher | None = None

    def __call__(
        self, frame0: NDArray[np.uint8], frame1: NDArray[np.uint8], block: int
    ) -> NDArray[np.float32]:
        """Return the displacement of every whole block, (rows, columns, 2), dx and dy in pixels.

        Args:
            frame0: (H, W) gray.
            frame1: (H, W) gray.
            block: Side of a block in pixels.
        """
        if self._matcher is None:
            path = shipped_checkpoint(str(MotionMatcher.shipped_weights))
            self._matcher = load_trained(MotionMatcher, path, {"radius": RADIUS}).to(self._device())
        earlier, later = (
            torch.from_numpy(frame.astype(np.float32) / 255)[None, None]
            for frame in (frame0, frame1)
        )
        return self._matcher.measure_motion(earlier, later, block).numpy()
