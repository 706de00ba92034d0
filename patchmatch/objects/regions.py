"""Connected regions of a mask."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.memory import Mask


def label_regions(mask: Mask, connectivity: int = 8) -> tuple[NDArray[Any], NDArray[Any]]:
    """Label the connected regions of a mask.

    Args:
        mask: (H, W) uint8, a region where it is not 0.
        connectivity: 8, or 4 if regions that share only a corner are not connected.

    Returns:
        (H, W) int32, the label of each pixel, 0 outside; and a row for each label, from 0: x, y,
        width and height of its box, and its area in pixels.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    return np.asarray(labels), np.asarray(stats)
