"""Losses for tuning features: triplet loss of images, and QATM quality of feature matches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import warp_points

UNKNOWN = -1  # index of a cell that is unknown or outside the view


def triplet_loss(
    embedding: Float[Tensor, "B D"], place: Int[Tensor, " B"], margin: float = 0.2
) -> Float[Tensor, ""]:
    """Return the triplet margin loss with semi-hard negatives (Schroff et al., CVPR 2015).

    Every ordered pair of views of a place is an anchor and a positive. The negative is the nearest
    view of another place that is farther from the anchor than the positive. Without one it is the
    farthest view: the nearest one would collapse all embeddings into a point.

    Args:
        embedding: Vectors of length 1. Distances are squared.
        place: Place of each vector.
        margin: Required difference between the distances to the negative and to the positive.

    Returns:
        The mean over all pairs; 0 without pairs or without another place.
    """
    same = place[:, None] == place  # (B, B)
    diagonal = torch.eye(len(same), dtype=torch.bool, device=same.device)
    anchor, positive = torch.nonzero(same & ~diagonal, as_tuple=True)  # (N,) each
    if not len(anchor) or same.all():
        return embedding.sum() * 0
    distance = 2 - 2 * embedding @ embedding.T
    negatives = distance.masked_fill(same, torch.inf)
    farthest = distance.masked_fill(same, -torch.inf).amax(dim=1)
    positive_distance = distance[anchor, positive]
    too_near = negatives[anchor] <= positive_distance[:, None]
    semi_hard = negatives[anchor].masked_fill(too_near, torch.inf).amin(dim=1)
    negative_distance = torch.where(semi_hard.isfinite(), semi_hard, farthest[anchor])
    return F.relu(positive_distance - negative_distance + margin).mean()


def corresponding_cells(
    homography: Float[Tensor, "N 3 3"], grid: tuple[int, int], stride: int
) -> Int[Tensor, "N T"]:
    """Return the cell of view 1 that contains the centre of each cell of view 0.

    Args:
        homography: From pixels of view 0 to pixels of view 1; NaN if unknown.
        grid: Rows and columns of both views.
        stride: Side of a cell in pixels.

    Returns:
        Row-major indices; ``UNKNOWN`` outside view 1 and for unknown homographies.
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


def neighbour_cells(grid: tuple[int, int], radius: int) -> Int[Tensor, "T n"]:
    """Return the cells of the square around every cell, the cell itself included.

    Args:
        grid: Rows and columns.
        radius: The side of the square is ``2 * radius + 1``.

    Returns:
        Row-major indices; ``UNKNOWN`` outside the grid.
    """
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    step = torch.arange(-radius, radius + 1)
    row = y.flatten()[:, None, None] + step[:, None]  # (T, side, 1)
    column = x.flatten()[:, None, None] + step  # (T, 1, side)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return torch.where(inside, row * columns + column, UNKNOWN).flatten(1)  # (T, side * side)


def match_log_quality(
    scene: Float[Tensor, "S D"],
    template: Float[Tensor, "T D"],
    target: Int[Tensor, " T"],
    neighbours: Int[Tensor, "T n"],
    alpha: float = 25.0,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return the QATM log quality of the true matches, and whether the best match is correct.

    All cells in the neighbourhood of the true match count as correct: their likelihoods, those of
    ``qatm_scores``, are summed in both directions.

    Args:
        scene: Features of length 1 of one or more views, T cells each.
        template: Features of length 1 of one view.
        target: Index of the scene feature that matches each template feature, or ``UNKNOWN``.
        neighbours: Cells around each cell of a view, or ``UNKNOWN``.
        alpha: Inverse temperature.

    Returns:
        For the N known matches: the log quality, which is differentiable; and 1 if the scene
        feature of highest quality lies in the neighbourhood of the true match, else 0.
    """
    known = torch.nonzero(target != UNKNOWN).flatten()
    target, template_cells = target[known], neighbours[known]
    cell = target % len(template)
    scene_cells = neighbours[cell]
    first = target - cell  # first cell of the view
    scene_cells = torch.where(scene_cells == UNKNOWN, UNKNOWN, scene_cells + first[:, None])
    similarity = alpha * template @ scene.T  # (T, S)
    over_scene, over_template = similarity.logsumexp(dim=1), similarity.logsumexp(dim=0)
    in_scene = similarity[known[:, None], scene_cells]  # (N, n)
    in_scene = in_scene.masked_fill(scene_cells == UNKNOWN, -torch.inf)
    in_template = similarity[template_cells, target[:, None]]
    in_template = in_template.masked_fill(template_cells == UNKNOWN, -torch.inf)
    log_product = in_scene.logsumexp(dim=1) - over_scene[known]
    log_product = log_product + in_template.logsumexp(dim=1) - over_template[target]
    best = (similarity.detach() - over_template.detach() / 2)[known].argmax(dim=1)
    correct = (best[:, None] == scene_cells).any(dim=1)
    return log_product / 2, correct.to(log_product)
