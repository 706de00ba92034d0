"""Matching of descriptors by nearest neighbours."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_SIMILARITIES = 4_000_000  # computed at a time, to bound memory


def match_descriptors(
    descriptors0: Float[Tensor, "N0 D"],
    descriptors1: Float[Tensor, "N1 D"],
    ratio: float | None = 0.8,
    mutual: bool = True,
    points1: Float[Tensor, "N1 2"] | None = None,
    spatial_threshold: float = 0.0,
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"], Float[Tensor, "M"]]:
    """Match each descriptor of image 0 with its nearest neighbour in image 1.

    Args:
        descriptors0: Of length one.
        descriptors1: Of length one.
        ratio: Largest ratio of the distance of the nearest to that of the second nearest
            descriptor (Lowe 2004); None for no ratio test.
        mutual: Whether both descriptors must be the nearest neighbours of each other.
        points1: x and y of ``descriptors1``, for ``spatial_threshold``.
        spatial_threshold: Distance in pixels from the nearest keypoint below which another one is
            not used as the second nearest (first geometrically inconsistent nearest neighbour,
            Mishkin et al. 2015). 0 switches this off.

    Returns:
        Indices into ``descriptors0`` and ``descriptors1``, and scores in [0, 1]: one minus the
        ratio of the two distances. The highest scores come first; equal ones keep their order.
    """
    count0, count1 = len(descriptors0), len(descriptors1)
    nearest = descriptors0.new_zeros(count0, dtype=torch.long)
    first = descriptors0.new_full((count0,), -1.0)  # similarity of the nearest
    second = descriptors0.new_zeros(count0)  # 0, as of unrelated descriptors, if there is no second
    nearest_back = descriptors0.new_zeros(count1, dtype=torch.long)
    first_back = descriptors0.new_full((count1,), -math.inf)
    rows = max(1, MAX_SIMILARITIES // max(1, count1))
    for start in range(0, count0 if count1 else 0, rows):
        chunk = slice(start, start + rows)
        similarity = descriptors0[chunk] @ descriptors1.T  # (rows, N1)
        value, row = similarity.max(dim=0)
        better = value > first_back
        first_back = torch.where(better, value, first_back)
        nearest_back = torch.where(better, row + start, nearest_back)
        first[chunk], nearest[chunk] = similarity.max(dim=1)
        if points1 is not None and spatial_threshold > 0:
            distance = torch.cdist(points1[nearest[chunk]], points1)  # (rows, N1)
            similarity.masked_fill_(distance < spatial_threshold, -math.inf)
        else:
            similarity.scatter_(1, nearest[chunk, None], -math.inf)
        runner_up = similarity.amax(dim=1)
        second[chunk] = torch.where(runner_up.isinf(), 0, runner_up)
    distance = (2 - 2 * first).clamp_min(0).sqrt()
    second_distance = (2 - 2 * second).clamp_min(1e-12).sqrt()
    score = (1 - distance / second_distance).clamp(0, 1)
    keep = torch.full_like(score, count1 > 0, dtype=torch.bool)
    if ratio is not None:
        keep &= distance < ratio * second_distance
    if mutual and count1:
        keep &= nearest_back[nearest] == torch.arange(count0, device=nearest.device)
    index0 = keep.nonzero().flatten()
    index0 = index0[score[index0].argsort(descending=True, stable=True)]
    return index0, nearest[index0], score[index0]


def drop_duplicates(
    points0: Float[Tensor, "N 2"], points1: Float[Tensor, "N 2"], cell: float = 1.0
) -> Int[Tensor, "M"]:
    """Return the indices of matches to keep so that no keypoint is matched twice.

    Args:
        points0: x and y in pixels, the best match first.
        points1: The corresponding points.
        cell: Side in pixels of the grid cells; points in the same cell are the same keypoint.

    Returns:
        Indices in ascending order.
    """
    keep = torch.arange(len(points0), device=points0.device)
    for points in (points0, points1):
        if not len(keep):
            break
        cells = (points[keep] / cell).round().long()
        _, which = torch.unique(cells, dim=0, return_inverse=True)
        first = torch.full_like(which, len(keep))
        first = first.scatter_reduce(0, which, torch.arange(len(keep)).to(which), "amin")
        keep = keep[first[first < len(keep)]].sort().values
    return keep
