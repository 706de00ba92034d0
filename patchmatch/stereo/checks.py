"""Checks of the images of a pair: sizes, one image twice, exchanged images, vertical offset."""

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.stereo.keypoints import match_keypoints

MIN_SIDE = 32  # pixels
VERTICAL = 1.5  # pixels of vertical offset that a note is made of
MIN_MATCHES = 24  # keypoints for a verdict
SIDE = 640  # pixels: larger images are downscaled for the checks


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
    points0, points1 = match_keypoints(image0, image1, SIDE)
    motion = points1 - points0
    if len(motion) < MIN_MATCHES:
        return []
    notes = []
    dx, dy = np.median(motion, axis=0)
    if abs(dy) > VERTICAL:
        notes.append(
            f"the right image is {abs(dy):.1f} pixels {'lower' if dy > 0 else 'higher'} than the "
            "left one, so rows do not correspond; rectify the pair, "
            "for instance by --data.rectify matches"
        )
    if dx > 1 and np.mean(motion[:, 0] > 0.5) > 0.8:
        notes.append(
            "left and right image seem to be exchanged: content moves to the right; exchange them"
        )
    return notes
