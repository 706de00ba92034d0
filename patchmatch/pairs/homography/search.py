"""Coarse homographies at any rotation and a wide range of scales, by the features of the network.

The network matches images whose corners move by up to a quarter of the side. For other pairs one
image is rotated in steps of 45 degrees and the other one is enlarged by 1, 2 or 4; the features of
both are matched, and a similarity is fitted to the matches.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import image_corners, resize_homography, warp_points
from patchmatch.ops.sampling import warp_by_homography

ROTATIONS = 8  # of a full turn
ZOOMS = (1, 2, 4)  # enlargement of one image against the other one
MULTIPLE = 8  # pixels: sides of the images from which features are extracted
COVERED = 0.9  # coverage of a feature cell that is matched
TOLERANCE = 2.0  # feature cells: largest distance of an inlier from the similarity
MIN_INLIERS = 6

Features = Callable[[Tensor], Tensor]  #: gray images (B, 1, H, W) to unit features (B, C, h, w)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Feature cells of an image.

    Attributes:
        points: (N, 2) double, x and y of their centres in pixels of the image.
        features: (N, C) float, of unit norm.
        size: Side of a cell in pixels of the image.
    """

    points: Tensor
    features: Tensor
    size: float


def coarse_homographies(
    features: Features,
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    side: int,
) -> Iterator[list[Float[Tensor, "3 3"]]]:
    """Yield similarities from image 0 to image 1 for each zoom, the one with most inliers first.

    Args:
        features: Network that extracts features.
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        side: Side of a square with the area to which the smaller image is resized.
    """
    images = (image0, image1)
    rotated: dict[int, list[Cells]] = {}
    for zoom in ZOOMS:
        found: list[tuple[int, Tensor]] = []
        for enlarged in (0,) if zoom == 1 else (0, 1):
            large, other = extract_cells(features, images[enlarged], zoom * side), 1 - enlarged
            if other not in rotated:
                angles = [2 * math.pi * i / ROTATIONS for i in range(ROTATIONS)]
                rotated[other] = [extract_cells(features, images[other], side, a) for a in angles]
            for cells in rotated[other]:
                inliers, matrix = fit_similarity(*match_cells(cells, large), TOLERANCE * large.size)
                if matrix is not None:
                    found.append((inliers, matrix if enlarged == 1 else matrix.inverse()))
        yield [matrix for _, matrix in sorted(found, key=lambda pair: pair[0], reverse=True)]


def extract_cells(
    features: Features, image: Float[Tensor, "1 1 H W"], side: int, angle: float = 0.0
) -> Cells:
    """Return the feature cells of an image, resized and rotated about its centre.

    Args:
        features: Network that extracts features.
        image: Gray, in [0, 1].
        side: Side of a square with the area to which the image is resized.
        angle: Rotation in radians.
    """
    height, width = image.shape[-2:]
    scale = side / math.sqrt(height * width)
    size = [max(MULTIPLE, MULTIPLE * round(scale * s / MULTIPLE)) for s in (height, width)]
    view = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
    to_image = resize_homography((size[0], size[1]), (height, width))
    coverage = torch.ones_like(view)
    if angle:
        rotation = _rotation(size[0], size[1], angle)
        rotated = warp_points(rotation.inverse(), image_corners(size[0], size[1]))
        last = rotated.amax(dim=0).ceil().int().tolist()  # the least corner is at 0
        columns, rows = (MULTIPLE * (position // MULTIPLE + 1) for position in last)
        view, coverage = warp_by_homography(view, rotation.to(view.device)[None], rows, columns)
        to_image = to_image @ rotation
    maps = features(view)
    stride = view.shape[-1] / maps.shape[-1]
    y, x = (
        stride * torch.arange(count, dtype=torch.float64) + (stride - 1) / 2
        for count in maps.shape[-2:]
    )
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
    keep = F.avg_pool2d(coverage, round(stride)).flatten() > COVERED
    return Cells(
        points=warp_points(to_image, centres)[keep.cpu()],
        features=maps[0].flatten(1).T[keep],
        size=stride / scale,
    )


def match_cells(cells0: Cells, cells1: Cells) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2"]]:
    """Return the points of the cells that are nearest neighbours of each other."""
    similarity = cells0.features @ cells1.features.T  # (N0, N1)
    nearest1 = similarity.argmax(dim=1)
    nearest0 = similarity.argmax(dim=0)[nearest1]
    mutual = (nearest0 == torch.arange(len(nearest1), device=nearest1.device)).cpu()
    return cells0.points[mutual], cells1.points[nearest1.cpu()[mutual]]


def fit_similarity(
    points0: Float[Tensor, "N 2"], points1: Float[Tensor, "N 2"], threshold: float
) -> tuple[int, Float[Tensor, "3 3"] | None]:
    """Return the similarity that most correspondences agree on, and their number (RANSAC).

    Args:
        points0: x and y.
        points1: Corresponding points.
        threshold: Largest distance of an inlier in units of ``points1``.

    Returns:
        The number of inliers and the similarity; 0 and None if there are too few.
    """
    if len(points0) < MIN_INLIERS:
        return 0, None
    matrix, mask = cv2.estimateAffinePartial2D(
        points0.numpy(), points1.numpy(), ransacReprojThreshold=threshold, maxIters=2000
    )
    inliers = 0 if mask is None else int(mask.sum())
    if matrix is None or inliers < MIN_INLIERS or abs(np.linalg.det(matrix[:, :2])) < 1e-9:
        return 0, None
    return inliers, torch.from_numpy(np.vstack([matrix, [0, 0, 1]]))


def _rotation(height: int, width: int, angle: float) -> Float[Tensor, "3 3"]:
    """Return the map from a rotated image, whose least x and y are 0, to the image."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
    low = warp_points(turn, image_corners(height, width)).amin(dim=0)
    turn[:2, 2] = -low
    return turn.inverse()
