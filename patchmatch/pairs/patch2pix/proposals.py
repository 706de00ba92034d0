"""Proposals of Patch2Pix: mutual nearest neighbours of coarse features, and their expansion."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

STRIDE = 8  # pixels between coarse cells
EXPANSIONS = (1, 8)  # anchors of a proposal
TEMPERATURE = 0.1  # of the dual softmax of cosines


def mutual_neighbours(
    coarse0: Float[Tensor, "C H W"],
    coarse1: Float[Tensor, "C H1 W1"],
    valid0: Bool[Tensor, "H W"] | None = None,
    valid1: Bool[Tensor, "H1 W1"] | None = None,
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"], Float[Tensor, "M"]]:
    """Return the mutual nearest neighbours of the cells of two images, by cosine.

    Args:
        coarse0: Features of image 0.
        coarse1: Features of image 1.
        valid0: Cells of image 0 that may match; None for all.
        valid1: The same for image 1.

    Returns:
        The cells as points in pixels, and the dual-softmax probabilities; best first.
    """
    features0, features1 = (
        (c / c.norm(dim=0, keepdim=True).clamp_min(1e-6)).flatten(1) for c in (coarse0, coarse1)
    )
    cosine = features0.mT @ features1 / TEMPERATURE  # (N, N1)
    if valid0 is not None:
        cosine = cosine.masked_fill(~valid0.flatten()[:, None], -torch.inf)
    if valid1 is not None:
        cosine = cosine.masked_fill(~valid1.flatten(), -torch.inf)
    best, nearest = cosine.max(dim=1)
    nearest1 = cosine.argmax(dim=0)
    probability = (2 * best - cosine.logsumexp(dim=1) - cosine.logsumexp(dim=0)[nearest]).exp()
    cells = torch.arange(len(nearest), device=nearest.device)
    mutual = ((nearest1[nearest] == cells) & best.isfinite()).nonzero()[:, 0]
    mutual = mutual[probability[mutual].argsort(descending=True, stable=True)]
    points = []
    for cell, columns in ((mutual, coarse0.shape[2]), (nearest[mutual], coarse1.shape[2])):
        points.append(STRIDE * torch.stack([cell % columns, cell // columns], dim=1).float())
    return points[0], points[1], probability[mutual]


def expand_patches(
    points0: Float[Tensor, "M 2"],
    points1: Float[Tensor, "M 2"],
    panc: int,
    shift: float = STRIDE / 2,
) -> tuple[Float[Tensor, "K 2"], Float[Tensor, "K 2"], Int[Tensor, "K"]]:
    """Return ``panc`` anchors of each proposal (patch expansion of the paper, section 3.2).

    With 8, each end is paired with the four corners of a square around the other end; by default
    this is the cell.

    Args:
        points0: Centres of the patches of image 0.
        points1: Centres of the patches of image 1.
        panc: 1 for the proposals themselves, or 8.
        shift: Half of the side of the square in pixels.

    Returns:
        The points of both images, and the index of the proposal of each anchor.
    """
    index = torch.arange(len(points0), device=points0.device)
    if panc == 1:
        return points0, points1, index
    corners = points0.new_tensor([[x, y] for y in (-shift, shift) for x in (-shift, shift)])
    still = torch.zeros_like(corners)
    moves0, moves1 = torch.cat([still, corners]), torch.cat([corners, still])
    expanded0 = (points0[:, None] + moves0).flatten(0, 1)
    expanded1 = (points1[:, None] + moves1).flatten(0, 1)
    return expanded0, expanded1, index.repeat_interleave(panc)
