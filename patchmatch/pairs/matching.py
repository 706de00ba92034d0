"""Which descriptors of two images belong together."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

AT_ONCE = 4_000_000  # similarities that are held in memory at a time


def match_descriptors(
    descriptors0: Float[Tensor, "N0 D"],
    descriptors1: Float[Tensor, "N1 D"],
    ratio: float | None = 0.8,
    mutual: bool = True,
    points1: Float[Tensor, "N1 2"] | None = None,
    apart: float = 0.0,
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"], Float[Tensor, "M"]]:
    """Match each descriptor of image 0 with the nearest one of image 1, where that is clear.

    Args:
        descriptors0: Of length one.
        descriptors1: Of length one.
        ratio: The nearest must be nearer than the second nearest by this factor (Lowe 2004); None
            for no such test.
        mutual: Whether the nearest one's own nearest must be the one it belongs to.
        points1: Places of the second descriptors, x and y.
        apart: Pixels in ``points1`` below which a second nearest is taken for another view of the
            nearest and does not count (first geometrically inconsistent, Mishkin et al. 2015).

    Returns:
        Indices into ``descriptors0`` and ``descriptors1``, and scores in [0, 1]: one minus the
        ratio of the two distances. The best come first; equal ones keep their order.
    """
    count0, count1 = len(descriptors0), len(descriptors1)
    nearest = descriptors0.new_zeros(count0, dtype=torch.long)
    first = descriptors0.new_full((count0,), -1.0)
    second = descriptors0.new_zeros(count0)  # without a second one: as far as unrelated ones are
    back = descriptors0.new_zeros(count1, dtype=torch.long)
    best_back = descriptors0.new_full((count1,), -math.inf)
    rows = max(1, AT_ONCE // max(1, count1))
    for start in range(0, count0 if count1 else 0, rows):
        part = slice(start, start + rows)
        similarity = descriptors0[part] @ descriptors1.T  # (rows, N1)
        value, row = similarity.max(dim=0)
        better = value > best_back
        best_back = torch.where(better, value, best_back)
        back = torch.where(better, row + start, back)
        first[part], nearest[part] = similarity.max(dim=1)
        if points1 is not None and apart > 0:
            gap = torch.cdist(points1[nearest[part]], points1)  # (rows, N1)
            similarity.masked_fill_(gap < apart, -math.inf)
        else:
            similarity.scatter_(1, nearest[part, None], -math.inf)
        runner_up = similarity.amax(dim=1)
        second[part] = torch.where(runner_up.isinf(), 0, runner_up)
    distance = (2 - 2 * first).clamp_min(0).sqrt()
    runner_up = (2 - 2 * second).clamp_min(1e-12).sqrt()
    score = (1 - distance / runner_up).clamp(0, 1)
    keep = torch.full_like(score, count1 > 0, dtype=torch.bool)
    if ratio is not None:
        keep &= distance < ratio * runner_up
    if mutual and count1:
        keep &= back[nearest] == torch.arange(count0, device=nearest.device)
    index0 = keep.nonzero().flatten()
    index0 = index0[score[index0].argsort(descending=True, stable=True)]
    return index0, nearest[index0], score[index0]


def drop_duplicates(
    points0: Float[Tensor, "N 2"], points1: Float[Tensor, "N 2"], cell: float = 1.0
) -> Int[Tensor, "M"]:
    """Return which matches to keep so that no place of either image is matched twice.

    Args:
        points0: x and y in pixels, the best match first.
        points1: Their partners.
        cell: Side of the squares, in pixels, of which each counts as one place.

    Returns:
        Indices in ascending order.
    """
    keep = torch.arange(len(points0), device=points0.device)
    for points in (points0, points1):
        if not len(keep):
            break
        place = (points[keep] / cell).round().long()
        _, which = torch.unique(place, dim=0, return_inverse=True)
        first = torch.full_like(which, len(keep))
        first = first.scatter_reduce(0, which, torch.arange(len(keep)).to(which), "amin")
        keep = keep[first[first < len(keep)]].sort().values
    return keep
