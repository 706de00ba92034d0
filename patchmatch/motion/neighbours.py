"""Values of neighbouring blocks, and the geometric median."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

ALL_NINE = tuple((row, column) for row in range(3) for column in range(3))
EIGHT = tuple(place for place in ALL_NINE if place != (1, 1))
FOUR = ((0, 1), (1, 0), (1, 2), (2, 1))


def neighbours(
    values: Float[Tensor, "B R C D"], which: tuple[tuple[int, int], ...] = FOUR
) -> Float[Tensor, "B R C M D"]:
    """Return the values of the neighbours of each block; the border is replicated.

    Args:
        values: D values of every block.
        which: (row, column) of each neighbour in the 3x3 square around the block.
    """
    rows, columns = values.shape[1:3]
    padded = F.pad(values.movedim(-1, 1), (1, 1, 1, 1), mode="replicate")
    parts = [padded[:, :, r : r + rows, c : c + columns] for r, c in which]
    return torch.stack(parts, dim=-1).permute(0, 2, 3, 4, 1)


def geometric_median(
    points: Float[Tensor, "N K 2"],
    weights: Float[Tensor, "N K"],
    start: Float[Tensor, "N 2"],
    steps: int = 4,
    softening: float = 0.05,
) -> Float[Tensor, "N 2"]:
    """Return the point of least weighted distance to K points, by Weiszfeld's iteration.

    For points with probabilities it minimises the expected endpoint error. The gradient treats the
    distances of the last step as constants.

    Args:
        points: K points for each of N sets.
        weights: Weight of each point, at least 0.
        start: Initial point.
        steps: Number of iterations.
        softening: Pixels added to every distance, so that none is zero.
    """
    point = start
    for _ in range(steps):
        distance = (points.detach() - point.detach()[:, None]).norm(dim=-1) + softening  # (N, K)
        share = weights / distance
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-9)
        point = (share.unsqueeze(-1) * points).sum(dim=1)
    return point
