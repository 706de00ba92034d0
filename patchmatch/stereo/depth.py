"""Depth and points of a disparity."""

import numpy as np

from patchmatch.stereo.calibration import Calibration

SMALLEST = 1e-3  # pixels: a smaller disparity is too far for a depth


def disparity_to_depth(disparity: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return the depth (H, W) float32 in metres along the optical axis, NaN where infinite.

    Args:
        disparity: (H, W) in pixels.
        calibration: Of images of this size.
    """
    total = disparity + calibration.offset
    with np.errstate(divide="ignore"):
        depth = calibration.baseline * calibration.focal / total
    return np.where(total > SMALLEST, depth, np.nan).astype(np.float32)


def depth_to_points(
    depth: np.ndarray, image: np.ndarray, selected: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of selected pixels with a depth, and their colors.

    Args:
        depth: (H, W) in metres, NaN where unknown.
        image: (H, W, 3) uint8 RGB.
        selected: (H, W) bool.
        calibration: Of images of this size.

    Returns:
        (N, 3) float32 in metres, x to the right, y down, z along the optical axis of the left
        camera, and (N, 3) uint8.
    """
    y, x = np.nonzero(selected & np.isfinite(depth))
    z = depth[y, x]
    sideways = (x - calibration.centre[0]) / calibration.focal * z
    down = (y - calibration.centre[1]) / calibration.focal * z
    return np.stack([sideways, down, z], axis=1).astype(np.float32), image[y, x]
