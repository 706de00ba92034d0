"""Correspondence of keypoints under a known homography."""

import numpy as np
import torch
from torch import Tensor

from patchmatch.ops.homography import warp_points
from patchmatch.pairs.descriptor.keypoints import Keypoints

# Tolerances of corresponding keypoints.
MAX_DISTANCE = 0.25  # of the smaller blob diameter,
MIN_TOLERANCE = 1.5  # but at least so many pixels
MAX_OCTAVES = 0.4  # difference of the sizes
MAX_ANGLE = 25.0  # degrees


def match_by_homography(
    keypoints0: Keypoints, keypoints1: Keypoints, homography: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return the keypoints of both images that correspond under a homography, as two index tensors.

    Matches are mutual nearest neighbours whose position, size and angle agree with the local affine
    approximation of the homography.

    Args:
        keypoints0: Keypoints of image 0.
        keypoints1: Keypoints of image 1.
        homography: (3, 3), maps points of image 0 to image 1.
    """
    if not len(keypoints0.points) or not len(keypoints1.points):
        return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    matrix = torch.from_numpy(homography).float()
    radians = torch.deg2rad(keypoints0.angle)
    axis = torch.stack([radians.cos(), radians.sin()], dim=1)
    normal = axis.flip(1) * axis.new_tensor([-1.0, 1.0])
    centre, along, across = (
        warp_points(matrix, keypoints0.points + step) for step in (0 * axis, axis, normal)
    )
    along, across = along - centre, across - centre
    area = (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]).abs()
    size = keypoints0.size * area.sqrt()
    angle = torch.rad2deg(torch.atan2(along[:, 1], along[:, 0]))
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(centre, keypoints1.points, compute_mode=exact)  # (N0, N1)
    tolerance = MAX_DISTANCE * torch.minimum(size[:, None], keypoints1.size)
    tolerance = tolerance.clamp_min(MIN_TOLERANCE)
    octaves = (size[:, None] / keypoints1.size).log2().abs()
    rotation = ((angle[:, None] - keypoints1.angle + 180) % 360 - 180).abs()
    cost = distance / tolerance + octaves / MAX_OCTAVES + rotation / MAX_ANGLE
    rejected = (distance > tolerance) | (octaves > MAX_OCTAVES) | (rotation > MAX_ANGLE)
    cost = cost.masked_fill(rejected, torch.inf)
    lowest, index1 = cost.min(dim=1)
    mutual = cost.argmin(dim=0)[index1] == torch.arange(len(cost))
    index0 = (mutual & lowest.isfinite()).nonzero()[:, 0]
    return index0, index1[index0]
