"""Checks of the images of a pair: sizes, one image twice, exchanged images, vertical offset."""

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.ops.luma import to_gray

MIN_SIDE = 32  # pixels
VERTICAL = 1.5  # pixels of vertical offset that a note is made of
MIN_MATCHES = 24  # keypoints for a verdict
SIDE = 640  # pixels: larger images are downscaled for the checks
RATIO = 0.8  # of the distances of the best and the second descriptor


def require_pair(image0: Tensor, image1: Tensor) -> None:
    """Raise InputError unless both images (1, C, H, W) can be a rectified pair."""
    sizes = [f"{image.shape[3]}x{image.shape[2]}" for image in (image0, image1)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"left and right image: expected one size, got {sizes[0]} and {sizes[1]}; give the "
            "images of a rectified pair"
        )
    if min(image0.shape[2:]) < MIN_SIDE:
        raise InputError(
            f"images of {sizes[0]} pixels: expected at least {MIN_SIDE} pixels in each direction; "
            "give larger images"
        )
    if image0.shape == image1.shape and torch.equal(image0, image1):
        raise InputError(
            "left and right image: they are the same image, so every disparity is 0; give two "
            "views of the scene"
        )


def inspect_pair(image0: Tensor, image1: Tensor) -> list[str]:
    """Return a line for a vertical offset, and for images that are exchanged, by SIFT matches."""
    motion = _matched_displacements(image0, image1)
    if len(motion) < MIN_MATCHES:
        return []
    notes = []
    dx, dy = np.median(motion, axis=0)
    if abs(dy) > VERTICAL:
        notes.append(
            f"the right image is {abs(dy):.1f} pixels {'lower' if dy > 0 else 'higher'} than the "
            "left one, so rows do not correspond; rectify the pair"
        )
    if dx > 1 and np.mean(motion[:, 0] > 0.5) > 0.8:
        notes.append(
            "left and right image seem to be exchanged: content moves to the right; exchange them"
        )
    return notes


def _matched_displacements(image0: Tensor, image1: Tensor) -> np.ndarray:
    """Return the displacements (N, 2) of matched keypoints in pixels."""
    scale = min(1.0, SIDE / max(image0.shape[2:]))
    found = []
    for image in (image0, image1):
        gray = to_gray(image)
        array = (gray[0, 0].clamp(0, 1) * 255).round().byte().cpu().numpy()
        array = cv2.resize(array, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append(cv2.SIFT.create(400).detectAndCompute(array, None))
    (points0, words0), (points1, words1) = found
    if words0 is None or words1 is None or len(words1) < 2:
        return np.empty((0, 2))
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(words0, words1, k=2)
    good = [best for best, second in matches if best.distance < RATIO * second.distance]
    motion = [np.subtract(points1[m.trainIdx].pt, points0[m.queryIdx].pt) / scale for m in good]
    return np.array(motion).reshape(-1, 2)
