"""Losses that draw what is alike together: of whole pictures, and of the cells of their maps."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import warp_points

UNKNOWN = -1  # a cell whose match is not known, or not to be seen


def triplet_loss(
    embedding: Float[Tensor, "B D"], place: Int[Tensor, " B"], margin: float = 0.2
) -> Float[Tensor, ""]:
    """Return the triplet margin loss with semi-hard negatives (Schroff et al., CVPR 2015).

    Every two views of a place make a pair. Its negative is the nearest view of another place that
    is farther than the pair is apart; where none is, the farthest of them: the nearest one would
    draw all embeddings into one point.

    Args:
        embedding: Vectors of length 1. Distances are squared.
        place: The place of each.
        margin: By how much the negative is to be farther.

    Returns:
        The mean over all pairs; 0 where there is no pair or no other place.
    """
    same = place[:, None] == place  # (B, B)
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    anchor, positive = torch.nonzero(same & ~itself, as_tuple=True)
    if not len(anchor) or same.all():
        return embedding.sum() * 0
    distance = 2 - 2 * embedding @ embedding.T
    others = distance.masked_fill(same, torch.inf)
    farthest = distance.masked_fill(same, -torch.inf).amax(dim=1)
    apart = distance[anchor, positive]  # (N,)
    farther = others[anchor].masked_fill(others[anchor] <= apart[:, None], torch.inf)
    nearest = farther.amin(dim=1)
    negative = torch.where(nearest.isfinite(), nearest, farthest[anchor])
    return F.relu(apart - negative + margin).mean()


def matching_cells(
    homography: Float[Tensor, "N 3 3"], grid: tuple[int, int], stride: int
) -> Int[Tensor, "N T"]:
    """Return which cell of view 1 shows what each cell of view 0 shows.

    Args:
        homography: From pixels of view 0 to pixels of view 1; NaN where it is not known.
        grid: Rows and columns of either view.
        stride: Side of a cell in pixels.

    Returns:
        Indices row by row; ``UNKNOWN`` where the place lies outside of view 1 or is not known.
    """
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([x, y], dim=-1).flatten(0, 1).to(homography)  # (T, 2)
    centres = (centres + 0.5) * stride - 0.5
    moved = warp_points(homography, centres.expand(len(homography), -1, -1))  # (N, T, 2)
    cell = ((moved + 0.5) / stride).floor()
    column, row = cell.nan_to_num(nan=-1.0, posinf=-1.0, neginf=-1.0).unbind(dim=-1)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return torch.where(inside, row * columns + column, UNKNOWN).long()


def cells_around(grid: tuple[int, int], radius: int) -> Int[Tensor, "T n"]:
    """Return the cells of the square about every cell, itself among them.

    Args:
        grid: Rows and columns.
        radius: Half the side of the square, less the cell itself.

    Returns:
        Indices row by row; ``UNKNOWN`` for those outside of the grid.
    """
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    step = torch.arange(-radius, radius + 1)
    row = y.flatten()[:, None, None] + step[:, None]  # (T, n, 1)
    column = x.flatten()[:, None, None] + step  # (T, 1, n)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return torch.where(inside, row * columns + column, UNKNOWN).flatten(1)  # (T, n * n)


def match_quality(
    scene: Float[Tensor, "S D"],
    template: Float[Tensor, "T D"],
    match: Int[Tensor, " T"],
    around: Int[Tensor, "T n"],
    alpha: float = 25.0,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return the log quality of the true matches, as ``qatm_scores`` has it, and which were found.

    A match counts as right wherever it lies around the true one: the likelihoods of the cells
    there are summed, over the scene as over the template.

    Args:
        scene: Features of length 1, of as many views as there are, each of T cells.
        template: Features of length 1, of one view.
        match: The scene feature that is the match of each template feature, or ``UNKNOWN``.
        around: The cells about each cell of a view, or ``UNKNOWN``.
        alpha: Inverse temperature.

    Returns:
        Of the matches that are known: the log quality, through which gradients pass, and 1 where
        the feature of highest quality lies around the true match, else 0.
    """
    known = torch.nonzero(match != UNKNOWN).flatten()
    target, own = match[known], around[known]
    there = around[target % len(template)]
    first = target - target % len(template)  # of the view that it lies in
    in_scene = torch.where(there == UNKNOWN, UNKNOWN, there + first[:, None])
    similarity = alpha * template @ scene.T  # (T, S)
    over_scene, over_template = similarity.logsumexp(dim=1), similarity.logsumexp(dim=0)
    forth = similarity[known[:, None], in_scene].masked_fill(in_scene == UNKNOWN, -torch.inf)
    back = similarity[own, target[:, None]].masked_fill(own == UNKNOWN, -torch.inf)
    right = forth.logsumexp(dim=1) - over_scene[known]
    right = right + back.logsumexp(dim=1) - over_template[target]
    best = (similarity.detach() - over_template.detach() / 2)[known].argmax(dim=1)
    found = (best[:, None] == in_scene).any(dim=1)
    return right / 2, found.to(right)
