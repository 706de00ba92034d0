"""Nearest-neighbour candidates from k-d trees (Bentley 1975), as dense matrix products.

Patches are projected onto principal components. Median splits divide the patches of each image
into leaves of equal size. Each leaf of image 0 is compared with the leaves of image 1 whose means
are nearest, every patch with every patch.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchmatch.nnf.patches import SearchProblem, chunk_rows

SAMPLE_SIZE = 8192  # patches of each image from which principal components are computed
SPLIT_DIMENSIONS = 12  # leading components that leaves are split along
LEAF_SIZE = 64  # most patches in a leaf
EXACT_PCA_SIZE = 512  # patches with more values get approximate principal components
CACHE_COSTS = 2**19  # costs held at once on the CPU: they stay in its cache


class ProjectedPatches(NamedTuple):
    """The patches that take part in a search, by their principal components.

    Attributes:
        points0: (N, d) components of the query patches of image 0.
        points1: (M, d) components of the target patches of image 1.
        squares1: (M,) squared norms of the target patches, over all components.
        indices0: (N,) numbers of the query patches.
        indices1: (M,) numbers of the target patches.
    """

    points0: Tensor
    points1: Tensor
    squares1: Tensor
    indices0: Tensor
    indices1: Tensor


def project_patches(problem: SearchProblem, dimensions: int) -> ProjectedPatches:
    """Project the query and target patches onto their principal components."""
    patches, indices = [problem.patches0, problem.patches1], []
    for i, mask in enumerate((problem.query_mask, problem.target_mask)):
        if mask is None:
            indices.append(torch.arange(len(patches[i]), device=patches[i].device))
        else:
            indices.append(mask.nonzero().squeeze(1))
            patches[i] = patches[i][indices[i]]
    axes, mean = principal_axes(patches[0], patches[1], dimensions)
    points0, _ = _project(patches[0], axes, mean)
    points1, squares1 = _project(patches[1], axes, mean)
    return ProjectedPatches(
        points0=points0,
        points1=points1,
        squares1=squares1,
        indices0=indices[0],
        indices1=indices[1],
    )


def _project(
    patches: Float[Tensor, "N D"], axes: Float[Tensor, "D d"], mean: Float[Tensor, " D"]
) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
    """Return the components and the squared norms of centred patches.

    The mean is subtracted first: products of values far from zero would lose the differences
    between patches to rounding.
    """
    points, squares = (
        patches.new_empty(len(patches), axes.shape[1]),
        patches.new_empty(len(patches)),
    )
    chunk = chunk_rows(patches.device)
    for start in range(0, len(patches), chunk):
        part = slice(start, start + chunk)
        centred = patches[part] - mean
        torch.mm(centred, axes, out=points[part])
        torch.sum(centred.square_(), dim=1, out=squares[part])
    return points, squares


def principal_axes(
    patches0: Float[Tensor, "N D"], patches1: Float[Tensor, "M D"], dimensions: int
) -> tuple[Float[Tensor, "D d"], Float[Tensor, " D"]]:
    """Return the principal axes of a sample of both images' patches, and the sample mean.

    Axes are ordered by descending variance.
    """
    sample = torch.cat([rows[:: max(1, len(rows) // SAMPLE_SIZE)] for rows in (patches0, patches1)])
    mean = sample.mean(dim=0)
    sample = sample - mean
    width = sample.shape[1]
    if width <= EXACT_PCA_SIZE:
        # in float64 the axes, and so the field, do not depend on the number of threads
        sample = sample if sample.device.type == "mps" else sample.double()
        _, axes = torch.linalg.eigh(sample.T @ sample)
        return axes[:, -dimensions:].flip(1).to(mean), mean
    # subspace iteration: the eigenvectors of a large covariance would take longer than the search
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(width, dimensions, generator=generator).to(sample)
    for _ in range(6):
        axes, _ = torch.linalg.qr(sample.T @ (sample @ axes))
    return axes, mean


def with_lower_bounds(problem: SearchProblem, dimensions: int = 16) -> SearchProblem:
    """Return the problem with projected patches, which reject candidates cheaply."""
    if problem.norm != "l2" or problem.patches0.shape[1] <= 2 * dimensions:
        return problem
    axes, _ = principal_axes(problem.patches0, problem.patches1, dimensions)
    return problem._replace(projected=(problem.patches0 @ axes, problem.patches1 @ axes))


def balanced_leaves(points: Float[Tensor, "N d"], size: int) -> Int[Tensor, "leaves s"]:
    """Split points into leaves of equal size, at most ``size``; a few points are in two leaves.

    Each node is split at the median of the component with the largest variance in a sample of it.
    """
    total = len(points)
    levels = 0
    while total > size << levels:
        levels += 1
    number = -(-total // 2**levels) * 2**levels
    nodes = torch.arange(number, device=points.device).remainder_(total).view(1, -1)
    flat = points.flatten()
    for _ in range(levels):
        sample = nodes[:, :: 4 if nodes.shape[1] > 256 else 2]
        variance = _gather_rows(points, sample).var(dim=1)
        widest = variance.argmax(dim=1)  # (nodes,)
        order = flat[nodes * points.shape[1] + widest[:, None]].argsort(dim=1)
        nodes = nodes.gather(1, order).view(2 * len(nodes), -1)
    return nodes


def kd_tree_candidates(
    problem: SearchProblem, dimensions: int, probes: int, num_candidates: int
) -> Int[Tensor, "N k"]:
    """Return candidate matches in image 1 for each patch of image 0.

    Args:
        problem: The pair.
        dimensions: Principal components to compare, at most.
        probes: Leaves of image 1 that each leaf of image 0 is compared with, at most.
        num_candidates: Candidates of a patch, at most: the best of each of its best leaves.
    """
    points0, points1, squares1, indices0, indices1 = project_patches(problem, dimensions)
    if len(points0) == 0 or len(points1) == 0:
        return indices1.new_zeros(len(problem.patches0), 0)
    leaves0 = balanced_leaves(points0[:, :SPLIT_DIMENSIONS], LEAF_SIZE)  # (c, n)
    leaves1 = balanced_leaves(points1[:, :SPLIT_DIMENSIONS], LEAF_SIZE)  # (e, m)
    probes = min(probes, len(leaves1))
    num_candidates = min(num_candidates, probes)
    # |a - b|^2 - |a|^2 as one product: (-2a, 1) . (b, |b|^2)
    ones = points0.new_ones(len(points0), 1)
    left = _gather_rows(torch.cat([-2 * points0, ones], dim=1), leaves0)  # (c, n, d + 1)
    right = _gather_rows(torch.cat([points1, squares1[:, None]], dim=1), leaves1)  # (e, m, d + 1)
    means0, means1 = left[..., :-1].mean(dim=1) / -2, right[..., :-1].mean(dim=1)
    right = right.flatten(1)
    candidates = indices1.new_zeros(len(problem.patches0), num_candidates)
    # a GPU is faster with few large products
    costs_at_once = CACHE_COSTS if points0.device.type == "cpu" else 64 * CACHE_COSTS
    chunk = max(1, costs_at_once // (probes * leaves0.shape[1] * leaves1.shape[1]))
    for start in range(0, len(leaves0), chunk):
        part = slice(start, start + chunk)
        distance = torch.cdist(means0[part], means1)
        near = distance.topk(probes, dim=1, largest=False, sorted=False).indices  # (g, probes)
        probed = right.index_select(0, near.flatten()).view(len(near), -1, left.shape[2])
        costs = torch.bmm(left[part], probed.transpose(1, 2))
        costs = costs.unflatten(2, (probes, -1))  # (g, n, probes, m)
        # amin is ten times as fast as min with indices: find the leaves first, then the members
        best = costs.amin(dim=3).topk(num_candidates, dim=2, largest=False).indices  # (g, n, k)
        chosen = costs.gather(2, best[..., None].expand(-1, -1, -1, costs.shape[3]))
        member = chosen.argmin(dim=3)  # (g, n, k)
        leaf1 = near[:, None].expand(-1, best.shape[1], -1).gather(2, best)
        found = indices1[leaves1[leaf1, member]].flatten(0, 1)  # (g n, k)
        candidates[indices0[leaves0[part].flatten()]] = found
    return candidates


def _gather_rows(values: Float[Tensor, "N d"], rows: Int[Tensor, "c n"]) -> Float[Tensor, "c n d"]:
    return values.index_select(0, rows.flatten()).unflatten(0, rows.shape)
