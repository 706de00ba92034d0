"""SIFT keypoints."""

from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Keypoints:
    """Oriented blobs of an image.

    Attributes:
        points: (N, 2) float32, x and y in pixels.
        size: (N,) float32, diameter in pixels.
        angle: (N,) float32, degrees clockwise from the x axis.
        response: (N,) float32, detector response; higher is better.
        descriptors: (N, 128) float32, SIFT descriptors of OpenCV; (N, 0) if not computed.
    """

    points: Tensor
    size: Tensor
    angle: Tensor
    response: Tensor
    descriptors: Tensor

    def __getitem__(self, index: Tensor) -> "Keypoints":
        """Return the keypoints selected by a long or bool index."""
        return Keypoints(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def detect_sift_keypoints(
    image: np.ndarray,
    contrast: float = 0.04,
    mask: np.ndarray | None = None,
    describe: bool = False,
) -> Keypoints:
    """Detect the SIFT keypoints of a gray image with OpenCV.

    Args:
        image: (H, W) uint8.
        contrast: Contrast threshold; lower detects more keypoints.
        mask: (H, W) uint8, nonzero where keypoints are detected; None for everywhere.
        describe: Also compute SIFT descriptors.
    """
    # Without the precise upscale OpenCV shifts every keypoint by a quarter of a pixel.
    sift = cv2.SIFT.create(contrastThreshold=contrast, enable_precise_upscale=True)
    descriptors = None
    if describe:
        keypoints, descriptors = sift.detectAndCompute(image, mask)
    else:
        keypoints = sift.detect(image, mask)
    rows = np.array([(*k.pt, k.size, k.angle, k.response) for k in keypoints], np.float32)
    table = torch.from_numpy(rows.reshape(-1, 5))
    if descriptors is None:
        descriptors = np.zeros((len(table), 128 if describe else 0), np.float32)
    return Keypoints(
        points=table[:, :2],
        size=table[:, 2],
        angle=table[:, 3],
        response=table[:, 4],
        descriptors=torch.from_numpy(descriptors),
    )
