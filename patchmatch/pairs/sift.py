"""SIFT: scale-invariant features, compared by their nearest neighbours."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.pairs.features import FeatureMatcher, Features, as_bytes

SIZE = 128  # numbers in a descriptor


class SIFTMatcher(FeatureMatcher):
    """SIFT features (Lowe 2004) of OpenCV, matched by ratio test and mutual nearest neighbours.

    Args:
        root: Compare the square roots of descriptors of sum one (RootSIFT, Arandjelovic and
            Zisserman 2012).
        contrast: How much a place must stand out; less finds more in faint pictures.
        options: Of ``FeatureMatcher`` and ``PairMatcher``.
    """

    def __init__(self, root: bool = True, contrast: float = 0.04, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= contrast < 1:
            raise ValueError(f"contrast must be at least 0 and below 1, got {contrast}")
        self.root, self.contrast = root, contrast

    def describe(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the SIFT features of a gray image (1, 1, H, W)."""
        mask = None if valid is None else valid[0].cpu().numpy().astype(np.uint8)
        keypoints, values = detect(as_bytes(image), self.contrast, mask)
        return Features(
            torch.tensor([k.pt for k in keypoints]).reshape(-1, 2).to(image.device),
            unit_descriptors(values, self.root).to(image.device),
            torch.tensor([k.response for k in keypoints]).to(image.device),
        )


def detect(
    picture: np.ndarray, contrast: float, mask: np.ndarray | None = None
) -> tuple[tuple[cv2.KeyPoint, ...], np.ndarray]:
    """Return OpenCV's SIFT keypoints of (H, W) uint8 and their descriptors (N, 128) float32.

    The plain variant of OpenCV puts every keypoint a quarter of a pixel off; this one does not.
    """
    sift = cv2.SIFT.create(contrastThreshold=contrast, enable_precise_upscale=True)
    keypoints, values = sift.detectAndCompute(picture, mask)
    if values is None:
        return (), np.zeros((0, SIZE), np.float32)
    return tuple(keypoints), values


def unit_descriptors(values: np.ndarray, root: bool) -> Tensor:
    """Return SIFT descriptors (N, 128) with length one, as RootSIFT if asked."""
    descriptors = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if root:
        descriptors = F.normalize(descriptors, p=1, dim=1).clamp_min(0).sqrt()
    return F.normalize(descriptors, dim=1)
