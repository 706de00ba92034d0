"""Affine SIFT (ASIFT): SIFT features of simulated views of an image."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.keypoints import detect_sift_keypoints, normalize_descriptors, to_uint8

ROTATION_STEP = 72.0  # degrees between two views of tilt 1; divided by the tilt (Morel and Yu 2009)
BLUR = 0.8  # antialiasing blur as a multiple of sqrt(tilt^2 - 1), as in the paper
BORDER = 8  # pixels at the edge of a simulated view without keypoints


class ASIFTMatcher(FeatureMatcher):
    """SIFT on simulated views (ASIFT, Morel and Yu 2009), for large changes of viewpoint.

    Both images are tilted by 1, sqrt 2, 2, ... in several directions. The features of all views
    are mapped back to the image and matched at once. A second nearest descriptor close to the
    nearest one shows the same point in another view and is ignored in the ratio test.

    Args:
        tilts: Number of tilts beyond the frontal view; 5 reach a tilt of 5.7, about 80 degrees.
        root: Compare the square roots of L1-normalised descriptors (RootSIFT).
        contrast: Contrast threshold of SIFT; a lower value finds more keypoints in flat regions.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_asift.yaml"
    spatial_threshold = 10.0

    def __init__(
        self,
        tilts: int = 4,
        root: bool = True,
        contrast: float = 0.04,
        max_keypoints: int = 20_000,
        **options: Any,
    ) -> None:
        super().__init__(max_keypoints=max_keypoints, **options)
        if not 0 <= tilts <= 8:
            raise ValueError(f"tilts must be from 0 to 8, got {tilts}")
        self.tilts, self.root, self.contrast = tilts, root, contrast

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the SIFT features of all views of a gray image (1, 1, H, W)."""
        gray = to_uint8(image)
        mask = np.full(gray.shape, 255, np.uint8)
        if valid is not None:
            mask *= valid[0].cpu().numpy()
        points, descriptors, response = [], [], []
        for tilt, angle in views(self.tilts):
            view, view_mask, to_image = simulate_view(gray, mask, tilt, angle)
            found = detect_sift_keypoints(view, self.contrast, view_mask, describe=True)
            in_image = found.points.double().numpy() @ to_image[:, :2].T + to_image[:, 2]
            points.append(torch.from_numpy(in_image).float())
            descriptors.append(normalize_descriptors(found.descriptors, self.root))
            response.append(found.response)
        return Features(
            points=torch.cat(points).to(image.device),
            descriptors=torch.cat(descriptors).to(image.device),
            response=torch.cat(response).to(image.device),
        )


def views(tilts: int) -> list[tuple[float, float]]:
    """Return tilt and rotation in degrees of each simulated view, the frontal one first."""
    sampled = [(1.0, 0.0)]
    for k in range(1, tilts + 1):
        tilt = math.sqrt(2) ** k
        count = math.ceil(180 / (ROTATION_STEP / tilt) - 1e-9)
        sampled += [(tilt, i * ROTATION_STEP / tilt) for i in range(count)]
    return sampled


def simulate_view(
    image: np.ndarray, mask: np.ndarray, tilt: float, angle: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image rotated and then foreshortened along x, as seen by a tilted camera.

    Args:
        image: (H, W) uint8.
        mask: (H, W) uint8, nonzero where the image is valid.
        tilt: Factor of foreshortening.
        angle: Rotation in degrees.

    Returns:
        The view, its mask, and (2, 3) the affine map from points of the view to the image.
    """
    if tilt == 1 and angle == 0:
        return image, mask, np.eye(2, 3)
    height, width = image.shape
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ rotation.T
    low = corners.min(axis=0)
    extent = np.ceil(corners.max(axis=0) - low).astype(int)
    rotate = np.c_[rotation, -low]
    size = (max(1, int(extent[0])), max(1, int(extent[1])))
    view = cv2.warpAffine(image, rotate, size, borderMode=cv2.BORDER_REPLICATE)
    view = cv2.GaussianBlur(view, (0, 0), sigmaX=BLUR * math.sqrt(tilt**2 - 1), sigmaY=0.01)
    foreshorten = np.array([[1 / tilt, 0, 0], [0, 1, 0]])
    size = (max(1, math.ceil(size[0] / tilt)), size[1])
    view = cv2.warpAffine(view, foreshorten, size, borderMode=cv2.BORDER_REPLICATE)
    to_view = np.vstack([foreshorten[:, :2] @ rotate, [0, 0, 1]])
    view_mask = cv2.warpAffine(mask, to_view[:2], size, flags=cv2.INTER_NEAREST)
    view_mask = cv2.erode(view_mask, np.ones((2 * BORDER + 1,) * 2, np.uint8), borderValue=0)
    return view, view_mask, np.linalg.inv(to_view)[:2]
