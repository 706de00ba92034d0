"""Models of two views estimated from matches: homography, epipolar matrix, alignment."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchmatch.ops.homography import resize_homography
from patchmatch.pairs.alignment import aligned_fraction
from patchmatch.pairs.cameras import Cameras
from patchmatch.pairs.geometry import (
    estimate_essential,
    estimate_fundamental,
    estimate_homography,
    relative_pose,
)
from patchmatch.pairs.points import as_gray
from patchmatch.pairs.results import Matches

EPIPOLAR = ("fundamental", "essential")


def add_homography(matches: Matches, threshold: float, seed: int) -> Matches:
    """Return matches with the homography estimated from them, and its inliers."""
    points = matches.keypoints0.numpy(), matches.keypoints1.numpy()
    estimate = estimate_homography(*points, threshold, seed)
    if estimate.model is None:
        return replace(matches, inliers=None, homography=None, aligned=None)
    return replace(
        matches,
        inliers=torch.from_numpy(estimate.inliers),
        homography=torch.from_numpy(estimate.model),
    )


def add_alignment(
    matches: Matches,
    images: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Matches:
    """Return matches with the share of the overlap in which the homography aligns the images.

    Args:
        matches: Matches with or without a homography.
        images: (1, C, H, W) each, RGB or gray in [0, 1].
        masks: (1, H, W) each, pixels that count; None for all.
        sizes: Height and width of each image in whose pixels the homography is; None for those of
            ``images``.
    """
    if matches.homography is None:
        return replace(matches, aligned=None)
    shapes = [(image.shape[-2], image.shape[-1]) for image in images]
    to_image0, to_image1 = (
        resize_homography(size, shape) for size, shape in zip(sizes or shapes, shapes, strict=True)
    )
    homography = to_image1 @ matches.homography @ to_image0.inverse()
    gray0, gray1 = (as_gray(image) for image in images)
    return replace(matches, aligned=aligned_fraction(gray0, gray1, homography, *masks))


def add_epipolar(
    matches: Matches, kind: str | None, cameras: Cameras, threshold: float, seed: int
) -> Matches:
    """Return matches with the epipolar matrix of a kind, its inliers and the pose.

    Without a kind, or if an essential matrix lacks a camera, the matches are returned as they are.
    """
    points = matches.keypoints0.numpy(), matches.keypoints1.numpy()
    camera0, camera1 = cameras
    pose = fundamental = None
    if kind == "fundamental":
        estimate = estimate_fundamental(*points, threshold, seed)
        fundamental = estimate.model
    elif kind == "essential" and camera0 is not None and camera1 is not None:
        estimate = estimate_essential(*points, camera0, camera1, threshold, seed)
        pose = relative_pose(estimate, *points, camera0, camera1)
        if estimate.model is not None:
            fundamental = np.linalg.inv(camera1).T @ estimate.model @ np.linalg.inv(camera0)
    else:
        return matches
    return replace(
        matches,
        epipolar=_as_tensor(estimate.model),
        epipolar_inliers=torch.from_numpy(estimate.inliers),
        fundamental=_as_tensor(fundamental),
        pose=None if pose is None else torch.from_numpy(np.c_[pose]),
    )


def _as_tensor(matrix: np.ndarray | None) -> Tensor | None:
    return None if matrix is None else torch.from_numpy(matrix)
