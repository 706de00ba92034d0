"""Models of two views estimated from matches: homography, epipolar matrix, alignment."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchmatch.ops.homography import resize_homography, warp_points
from patchmatch.pairs.alignment import aligned_fraction
from patchmatch.pairs.cameras import Cameras
from patchmatch.pairs.geometry import (
    estimate_essential,
    estimate_fundamental,
    estimate_homography,
    relative_pose,
)
from patchmatch.pairs.homography.refinement import align_images
from patchmatch.pairs.points import as_gray
from patchmatch.pairs.results import Matches

KEPT = 0.5  # of the inliers: a homography that loses more describes another part of the scene
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
    to_image0, to_image1 = _to_images(images, sizes)
    homography = to_image1 @ matches.homography @ to_image0.inverse()
    gray0, gray1 = (as_gray(image) for image in images)
    return replace(matches, aligned=aligned_fraction(gray0, gray1, homography, *masks))


def refine_by_images(
    matches: Matches,
    images: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    threshold: float,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Matches:
    """Return matches whose homography is refined on the images where these agree more with it.

    The refined homography must raise the correlation of the images and keep half of the inliers;
    otherwise the matches are returned as they are.

    Args:
        matches: Matches with or without a homography.
        images: (1, C, H, W) each, RGB or gray in [0, 1].
        masks: (1, H, W) each, pixels that count; None for all.
        threshold: Inlier threshold: reprojection error in pixels of image 1.
        sizes: Height and width of each image in whose pixels the homography is; None for those of
            ``images``.
    """
    if matches.homography is None or matches.inliers is None:
        return matches
    to_image0, to_image1 = _to_images(images, sizes)
    initial = to_image1 @ matches.homography @ to_image0.inverse()
    refined = align_images(as_gray(images[0]), as_gray(images[1]), initial, *masks)
    if refined is initial:
        return matches
    refined = to_image1.inverse() @ refined @ to_image0
    refined = refined / refined[2, 2]
    points0, points1 = matches.keypoints0.double(), matches.keypoints1.double()
    inliers = (warp_points(refined, points0) - points1).norm(dim=1) <= threshold
    if inliers.sum() < KEPT * matches.inliers.sum():
        return matches
    better = replace(matches, homography=refined, inliers=inliers)
    return add_alignment(better, images, masks, sizes)


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


def _to_images(
    images: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None
) -> tuple[Tensor, Tensor]:
    """Return the transforms (3, 3) of points from the pixels of the matches to the images."""
    shapes = [(image.shape[-2], image.shape[-1]) for image in images]
    size0, size1 = sizes or shapes
    return resize_homography(size0, shapes[0]), resize_homography(size1, shapes[1])


def _as_tensor(matrix: np.ndarray | None) -> Tensor | None:
    return None if matrix is None else torch.from_numpy(matrix)
