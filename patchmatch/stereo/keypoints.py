"""Matched keypoints of a stereo pair, by the SIFT of the pairs system."""

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.ops.luma import to_gray
from patchmatch.pairs.keypoints import detect_sift_keypoints, normalize_descriptors, to_uint8
from patchmatch.pairs.matching import match_descriptors

KEYPOINTS = 800  # the strongest ones of an image


def match_keypoints(image0: Tensor, image1: Tensor, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (N, 2) of matched keypoints of both images, x and y in pixels.

    Args:
        image0: (1, C, H, W) in [0, 1].
        image1: The same.
        side: Larger images are downscaled to this longer side in pixels.
    """
    scale = min(1.0, side / max(image0.shape[2:]))
    found = []
    for image in (image0, image1):
        array = to_uint8(to_gray(image).clamp(0, 1))
        array = cv2.resize(array, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        points = detect_sift_keypoints(array, describe=True)
        strongest = points.response.argsort(descending=True, stable=True)[:KEYPOINTS]
        found.append(points[strongest])
    words0, words1 = (normalize_descriptors(points.descriptors, root=True) for points in found)
    index0, index1, _ = match_descriptors(words0, words1)
    matched = torch.stack([found[0].points[index0], found[1].points[index1]])
    # (0, 0) is the centre of a pixel: scale around the corner
    matched = (matched + 0.5) / scale - 0.5
    first, second = matched.double().numpy()
    return first, second
