"""Camera matrices of an image pair."""

from collections.abc import Sequence

import numpy as np

#: Camera matrices (3, 3) of image 0 and image 1; None where the intrinsics are not known.
Cameras = tuple[np.ndarray | None, np.ndarray | None]


def camera_matrices(intrinsics: Sequence[Sequence[float] | None]) -> Cameras:
    """Return the camera matrices (3, 3) of both images.

    Args:
        intrinsics: fx, fy, cx and cy of each image, in pixels; None where not known.
    """
    camera0, camera1 = (
        None if values is None else _camera_matrix(values, f"intrinsics{i}")
        for i, values in enumerate(intrinsics)
    )
    return camera0, camera1


def _camera_matrix(values: Sequence[float], name: str) -> np.ndarray:
    if len(values) != 4 or not np.isfinite(values).all() or min(values[:2]) <= 0:
        raise ValueError(
            f"{name} must be fx, fy, cx, cy in pixels, the first two above 0, got {list(values)}"
        )
    fx, fy, cx, cy = values
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)
