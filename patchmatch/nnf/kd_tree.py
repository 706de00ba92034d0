"""Nearest neighbours by cells: like patches of both images meet in dense matrix products.

Patches are reduced to principal components and both images' patches are split, by medians, into
cells of equal size (k-d trees; Bentley 1975). Each cell of image 0 is compared with the cells of
image 1 whose means are nearest, every patch with every patch.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchmatch.nnf.patches import CHUNK, Problem

SAMPLE = 8192  # patches of each image that the principal components are found from
SPLIT_DIMENSIONS = 12  # that cells are split along, at most
CELL = 64  # patches of a cell, at most
WIDE = 512  # values of a patch, beyond which its principal components are approximated
VALUES = 2**19  # costs held at once: they stay in the cache


class Reduced(NamedTuple):
    """Patches by their principal components, as the search compares them.

    Attributes:
        points0: (N, d) components of the wanted patches of image 0.
        points1: (M, d) of the usable patches of image 1.
        squares1: (M,) squared lengths of the patches of image 1, all components counted.
        places0: (N,) which patches of image 0 these are.
        places1: (M,) the same of image 1.
    """

    points0: Tensor
    points1: Tensor
    squares1: Tensor
    places0: Tensor
    places1: Tensor


def reduce(problem: Problem, dimensions: int) -> Reduced:
    """Return the patches that take part, reduced to their principal components."""
    rows, places = [problem.rows0, problem.rows1], []
    for index, mask in enumerate((problem.wanted, problem.usable)):
        if mask is None:
            places.append(torch.arange(len(rows[index]), device=rows[index].device))
        else:
            places.append(mask.nonzero().squeeze(1))
            rows[index] = rows[index][places[index]]
    axes, mean = principal_axes(rows[0], rows[1], dimensions)
    points0, _ = _centred(rows[0], axes, mean)
    points1, squares1 = _centred(rows[1], axes, mean)
    return Reduced(points0, points1, squares1, *places)


def _centred(
    rows: Float[Tensor, "N D"], axes: Float[Tensor, "D d"], mean: Float[Tensor, " D"]
) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
    """Return the components and the squared lengths of patches less their mean.

    Subtracted first: products of what is far from zero would round away what tells patches apart.
    """
    points, squares = rows.new_empty(len(rows), axes.shape[1]), rows.new_empty(len(rows))
    chunk = CHUNK if rows.device.type == "cpu" else 64 * CHUNK
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        centred = rows[part] - mean
        torch.mm(centred, axes, out=points[part])
        torch.sum(centred.square_(), dim=1, out=squares[part])
    return points, squares


def principal_axes(
    rows0: Float[Tensor, "N D"], rows1: Float[Tensor, "M D"], dimensions: int
) -> tuple[Float[Tensor, "D d"], Float[Tensor, " D"]]:
    """Return the axes along which a sample of patches varies most, widest first, and its mean."""
    sample = torch.cat([rows[:: max(1, len(rows) // SAMPLE)] for rows in (rows0, rows1)])
    mean = sample.mean(dim=0)
    sample = sample - mean
    width = sample.shape[1]
    if width <= WIDE:
        # in float64 another number of threads gives the same axes, and so the same field
        sample = sample if sample.device.type == "mps" else sample.double()
        _, axes = torch.linalg.eigh(sample.T @ sample)
        return axes[:, -dimensions:].flip(1).to(mean), mean
    # subspace iteration: the eigenvectors of a wide covariance would take longer than the search
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(width, dimensions, generator=generator).to(sample)
    for _ in range(6):
        axes, _ = torch.linalg.qr(sample.T @ (sample @ axes))
    return axes, mean


def with_lower_bounds(problem: Problem, dimensions: int = 16) -> Problem:
    """Return the problem with what sorts out candidates before their whole cost is looked at."""
    if problem.norm != "l2" or problem.rows0.shape[1] <= 2 * dimensions:
        return problem
    axes, _ = principal_axes(problem.rows0, problem.rows1, dimensions)
    return problem._replace(reduced=(problem.rows0 @ axes, problem.rows1 @ axes))


def balanced_cells(points: Float[Tensor, "N d"], size: int) -> Int[Tensor, "cells s"]:
    """Split points into cells of equal size, at most ``size``; a few points stand in two cells.

    Each cell is halved at the median of the component that varies most in a part of it.
    """
    total = len(points)
    levels = 0
    while total > size << levels:
        levels += 1
    number = -(-total // 2**levels) * 2**levels
    cells = torch.arange(number, device=points.device).remainder_(total).view(1, -1)
    flat = points.flatten()
    for _ in range(levels):
        some = cells[:, :: 4 if cells.shape[1] > 256 else 2]
        members = points.index_select(0, some.flatten()).unflatten(0, some.shape)
        widest = members.var(dim=1).argmax(dim=1)  # (cells,)
        order = flat[cells * points.shape[1] + widest[:, None]].argsort(dim=1)
        cells = cells.gather(1, order).view(2 * len(cells), -1)
    return cells


def cell_candidates(
    problem: Problem, dimensions: int, probes: int, kept: int
) -> Int[Tensor, "N k"]:
    """Return for each patch of image 0 the likeliest places in image 1.

    Args:
        problem: The pair.
        dimensions: Principal components to compare, at most.
        probes: Cells of image 1 that each cell of image 0 is compared with, at most.
        kept: Candidates to return, each the best of another cell, so there may be fewer.
    """
    reduced = reduce(problem, dimensions)
    points0, points1, squares1, places0, places1 = reduced
    if len(points0) == 0 or len(points1) == 0:
        return places1.new_zeros(len(problem.rows0), 0)
    cells0 = balanced_cells(points0[:, :SPLIT_DIMENSIONS], CELL)  # (c, n)
    cells1 = balanced_cells(points1[:, :SPLIT_DIMENSIONS], CELL)  # (e, m)
    probes = min(probes, len(cells1))
    kept = min(kept, probes)
    # |a - b|^2 less |a|^2 as one product: (-2a, 1) . (b, |b|^2)
    ones = points0.new_ones(len(points0), 1)
    left = _members(torch.cat([-2 * points0, ones], dim=1), cells0)  # (c, n, d + 1)
    right = _members(torch.cat([points1, squares1[:, None]], dim=1), cells1)  # (e, m, d + 1)
    means0, means1 = left[..., :-1].mean(dim=1) / -2, right[..., :-1].mean(dim=1)
    right = right.flatten(1)
    candidates = places1.new_zeros(len(problem.rows0), kept)
    # a GPU would rather have few large products
    values = VALUES if points0.device.type == "cpu" else 64 * VALUES
    together = max(1, values // (probes * cells0.shape[1] * cells1.shape[1]))
    for start in range(0, len(cells0), together):
        part = slice(start, start + together)
        distance = torch.cdist(means0[part], means1)
        near = distance.topk(probes, dim=1, largest=False, sorted=False).indices  # (g, probes)
        theirs = right.index_select(0, near.flatten()).view(len(near), -1, left.shape[2])
        costs = torch.bmm(left[part], theirs.transpose(1, 2))
        costs = costs.unflatten(2, (probes, -1))  # (g, n, probes, m)
        # a minimum without its place is ten times as quick as one with it
        best = costs.amin(dim=3).topk(kept, dim=2, largest=False).indices  # (g, n, kept)
        chosen = costs.gather(2, best[..., None].expand(-1, -1, -1, costs.shape[3]))
        member = chosen.argmin(dim=3)  # (g, n, kept)
        cell1 = near[:, None].expand(-1, best.shape[1], -1).gather(2, best)
        candidates[places0[cells0[part].flatten()]] = places1[cells1[cell1, member]].flatten(0, 1)
    return candidates


def _members(values: Float[Tensor, "N d"], cells: Int[Tensor, "c n"]) -> Float[Tensor, "c n d"]:
    return values.index_select(0, cells.flatten()).unflatten(0, cells.shape)
