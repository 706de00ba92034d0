"""Rectification of a pair: from its calibration, or from matched keypoints."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.pairs.geometry import estimate_fundamental
from patchmatch.stereo.calibration import Calibration, rectified_calibration
from patchmatch.stereo.keypoints import match_keypoints

MIN_INLIERS = 40
SIDE = 1600  # pixels: larger images are downscaled to find keypoints
MARGIN = 2.0  # pixels between disparity 0 and the smallest one of the matches
MAX_STRETCH = 1.6  # change of a length by the rectification


def rectify_by_calibration(
    image0: Tensor, image1: Tensor, calibration: Calibration
) -> tuple[Tensor, Tensor, Calibration]:
    """Rectify a pair by its cameras (Bouguet's method, of OpenCV), distortion included.

    Args:
        image0: Left image, (1, C, H, W).
        image1: Right image, of the same size.
        calibration: With ``cameras``, in which distances are in metres.

    Returns:
        Both images, of the same size, and the calibration of the rectified pair.

    Raises:
        InputError: If the cameras are not side by side, or of another size.
    """
    height, width = image0.shape[2:]
    cameras = calibration.cameras
    assert cameras is not None
    if calibration.size not in (None, (width, height)):
        assert calibration.size is not None
        raise InputError(
            f"calibration of {calibration.size[0]}x{calibration.size[1]} pixels: the images have "
            f"{width}x{height}; give images of the calibrated size"
        )
    matrices, distortions = cameras.matrices, cameras.distortions
    rotation0, rotation1, projection0, projection1, *_ = cv2.stereoRectify(
        matrices[0],
        distortions[0],
        matrices[1],
        distortions[1],
        (width, height),
        cameras.rotation,
        cameras.translation[:, None],
        flags=cv2.CALIB_ZERO_DISPARITY,
        alpha=0,
    )
    try:
        result = rectified_calibration(projection0, projection1, 1.0, (width, height))
    except ValueError as error:
        raise InputError(f"calibration: {error}") from error
    found = []
    for image, matrix, distortion, rotation, projection in zip(
        (image0, image1),
        matrices,
        distortions,
        (rotation0, rotation1),
        (projection0, projection1),
        strict=True,
    ):
        maps = cv2.initUndistortRectifyMap(
            matrix, distortion, rotation, projection, (width, height), cv2.CV_32FC1
        )
        found.append(_apply(image, lambda x, maps=maps: cv2.remap(x, *maps, cv2.INTER_LINEAR)))
    return found[0], found[1], result


def rectify_by_matches(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, int]:
    """Rectify a pair by the epipolar geometry of matched keypoints (Hartley, IJCV 1999).

    The right image is moved so that all matched disparities are positive.

    Args:
        image0: Left image, (1, C, H, W).
        image1: Right image, of the same size.

    Returns:
        Both images, of the same size, and the number of matches that agree.

    Raises:
        InputError: If too few matches agree, or the images would be strongly distorted.
    """
    height, width = image0.shape[2:]
    points0, points1 = match_keypoints(image0, image1, SIDE)
    estimate = estimate_fundamental(points0, points1)
    inliers = int(estimate.inliers.sum())
    if estimate.model is None or inliers < MIN_INLIERS:
        raise InputError(
            f"the images have {inliers} keypoint matches that agree, of {MIN_INLIERS} required to "
            "rectify them; give a calibration"
        )
    points0, points1 = points0[estimate.inliers], points1[estimate.inliers]
    is_found, transform0, transform1 = cv2.stereoRectifyUncalibrated(
        points0, points1, estimate.model, (width, height)
    )
    if not is_found or not all(_is_mild(t, width, height) for t in (transform0, transform1)):
        raise InputError(
            "the images cannot be rectified from their keypoint matches without strong distortion; "
            "give a calibration"
        )
    x0, x1 = (
        cv2.perspectiveTransform(points[None], transform)[0, :, 0]
        for points, transform in ((points0, transform0), (points1, transform1))
    )
    shift = np.eye(3)
    shift[0, 2] = float(np.percentile(x0 - x1, 0.5)) - MARGIN
    transforms = (transform0, shift @ transform1)
    found = [
        _apply(image, lambda x, t=t: cv2.warpPerspective(x, t, (width, height)))
        for image, t in zip((image0, image1), transforms, strict=True)
    ]
    return found[0], found[1], inliers


def _is_mild(transform: np.ndarray, width: int, height: int) -> bool:
    """Return whether a homography keeps the lengths of the sides roughly, and the orientation."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    moved = cv2.perspectiveTransform(corners[None], transform)[0]
    sides, before = (np.roll(c, -1, axis=0) - c for c in (moved, corners))
    stretch = np.linalg.norm(sides, axis=1) / np.linalg.norm(before, axis=1)
    angle = (sides * before).sum(axis=1) > 0
    return bool(angle.all() and (stretch < MAX_STRETCH).all() and (stretch > 1 / MAX_STRETCH).all())


def _apply(image: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply a function of an array (H, W, C) to an image (1, C, H, W)."""
    array = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    moved = np.atleast_3d(function(array))
    return torch.from_numpy(moved.transpose(2, 0, 1).copy())[None]
