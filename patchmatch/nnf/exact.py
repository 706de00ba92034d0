"""Nearest neighbours by brute force, in bounded memory."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from patchmatch.nnf.patches import SearchProblem, match_costs, search_window
from patchmatch.nnf.propagation import Matches, empty_matches

COSTS_AT_ONCE = 2**24  # bounds the memory
EXTRA_CANDIDATES = 3  # beyond k: rounding may swap matches of nearly equal cost


def exact_matches(problem: SearchProblem, k: int) -> Matches:
    """Return the k best matches of every query patch of image 0."""
    indices, costs = empty_matches(problem, k)
    total0, total1 = len(problem.patches0), len(problem.patches1)
    if problem.query_mask is None:
        queries = torch.arange(total0, device=indices.device)
    else:
        queries = problem.query_mask.nonzero().squeeze(1)
    mean = problem.patches1.mean(dim=0)  # centred values lose less to rounding
    patches1 = problem.patches1 - mean
    squares1 = patches1.square().sum(dim=1)
    if problem.target_mask is not None:
        squares1 = squares1.masked_fill(~problem.target_mask, torch.inf)
    num_candidates = min(k + EXTRA_CANDIDATES, total1)
    for part in queries.split(max(1, COSTS_AT_ONCE // total1)):
        if problem.norm == "l1":
            approximate = torch.cdist(problem.patches0[part], problem.patches1, p=1)
            if problem.target_mask is not None:
                approximate.masked_fill_(~problem.target_mask, torch.inf)
        else:
            # |a - b|^2 - |a|^2: |a|^2 is the same for all candidates
            patches0 = problem.patches0[part] - mean
            approximate = torch.addmm(squares1, patches0, patches1.T, alpha=-2)  # (n, M)
        if problem.max_displacement is not None:
            approximate.masked_fill_(~_in_window(problem, part), torch.inf)
        values, found = smallest_values(approximate, num_candidates)  # (n, num_candidates)
        cost = match_costs(problem, found.flatten(), part.repeat_interleave(num_candidates))
        cost = cost.view_as(found).masked_fill(values == torch.inf, torch.inf)
        cost, order = cost.sort(dim=1, stable=True)
        found = found.gather(1, order)
        is_match = cost[:, :k] < torch.inf
        indices[part] = torch.where(is_match, found[:, :k], indices[part])
        costs[part] = cost[:, :k]
    return Matches(indices, costs)


def _in_window(problem: SearchProblem, indices0: Int[Tensor, " n"]) -> Bool[Tensor, "n M"]:
    """Return which patches of image 1 are within the maximum displacement."""
    first, last = search_window(problem, indices0)
    inside = []
    for axis in range(2):
        position = torch.arange(problem.grid1[axis], device=indices0.device)
        inside.append((position >= first[axis, :, None]) & (position <= last[axis, :, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).flatten(1)


def smallest_values(
    values: Float[Tensor, "n M"], k: int, block: int = 64
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Return the k smallest values of each row and their indices, unordered.

    ``amin`` is ten times as fast as a minimum with indices. So indices are computed only in the k
    blocks with the smallest minima, which contain the k smallest values.
    """
    total = values.shape[1]
    whole = total // block * block
    if whole // block <= k:
        found = values.topk(k, dim=1, largest=False, sorted=False)
        return found.values, found.indices
    blocks = values[:, :whole].unflatten(1, (-1, block))  # (n, blocks, block)
    best = blocks.amin(dim=2).topk(k, dim=1, largest=False, sorted=False).indices  # (n, k)
    candidates = blocks.gather(1, best[..., None].expand(-1, -1, block)).flatten(1)
    candidates = torch.cat([candidates, values[:, whole:]], dim=1)  # (n, k * block + rest)
    indices = (best[..., None] * block + torch.arange(block, device=best.device)).flatten(1)
    rest = torch.arange(whole, total, device=best.device).expand(len(best), -1)
    indices = torch.cat([indices, rest], dim=1)
    found = candidates.topk(k, dim=1, largest=False, sorted=False)
    return found.values, indices.gather(1, found.indices)
