"""Nearest neighbours by brute force, in bounded memory."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchmatch.nnf.patches import Problem, match_costs, window
from patchmatch.nnf.refine import Matches, no_matches

VALUES = 2**24  # costs held at once
SPARE = 3  # candidates beyond those asked for: rounding may swap matches that are nearly alike


def exact_matches(problem: Problem, count: int) -> Matches:
    """Return the best matches of every place of image 0."""
    places, costs = no_matches(problem, count)
    total0, total1 = len(problem.rows0), len(problem.rows1)
    if problem.wanted is None:
        wanted = torch.arange(total0, device=places.device)
    else:
        wanted = problem.wanted.nonzero().squeeze(1)
    centre = problem.rows1.mean(dim=0)  # small numbers, small rounding
    rows1 = problem.rows1 - centre
    squares1 = rows1.square().sum(dim=1)
    if problem.usable is not None:
        squares1 = squares1.masked_fill(~problem.usable, torch.inf)
    kept = min(count + SPARE, total1)
    for which in wanted.split(max(1, VALUES // total1)):
        if problem.norm == "l1":
            approximate = torch.cdist(problem.rows0[which], problem.rows1, p=1)
            if problem.usable is not None:
                approximate.masked_fill_(~problem.usable, torch.inf)
        else:
            # |a - b|^2 less |a|^2, which is the same for all candidates
            rows0 = problem.rows0[which] - centre
            approximate = torch.addmm(squares1, rows0, rows1.T, alpha=-2)  # (n, M)
        if problem.reach is not None:
            approximate.masked_fill_(~_within(problem, which), torch.inf)
        values, found = least(approximate, kept)  # (n, kept)
        cost = match_costs(problem, found.flatten(), which.repeat_interleave(kept))
        cost = cost.view_as(found).masked_fill(values == torch.inf, torch.inf)
        cost, order = cost.sort(dim=1, stable=True)
        found = found.gather(1, order)
        reached = cost[:, :count] < torch.inf
        places[which] = torch.where(reached, found[:, :count], places[which])
        costs[which] = cost[:, :count]
    return places, costs


def _within(problem: Problem, which: Int[Tensor, " n"]) -> Tensor:
    """Return (n, M) bool, which places of image 1 are in reach."""
    first, last = window(problem, which)
    inside = []
    for axis in range(2):
        place = torch.arange(problem.grid1[axis], device=which.device)
        inside.append((place >= first[axis, :, None]) & (place <= last[axis, :, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).flatten(1)


def least(
    values: Float[Tensor, "n M"], count: int, block: int = 64
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Return the ``count`` least values of each row and where they stand, unordered.

    A minimum without its place is ten times as quick as one with it. So places are sought only in
    the ``count`` blocks whose minima are least, and the least values can stand nowhere else.
    """
    total = values.shape[1]
    whole = total // block * block
    if whole // block <= count:
        found = values.topk(count, dim=1, largest=False, sorted=False)
        return found.values, found.indices
    blocks = values[:, :whole].unflatten(1, (-1, block))  # (n, blocks, block)
    best = blocks.amin(dim=2).topk(count, dim=1, largest=False, sorted=False).indices  # (n, k)
    near = blocks.gather(1, best[..., None].expand(-1, -1, block)).flatten(1)  # (n, k * block)
    near = torch.cat([near, values[:, whole:]], dim=1)
    places = (best[..., None] * block + torch.arange(block, device=best.device)).flatten(1)
    rest = torch.arange(whole, total, device=best.device).expand(len(best), -1)
    places = torch.cat([places, rest], dim=1)
    found = near.topk(count, dim=1, largest=False, sorted=False)
    return found.values, places.gather(1, found.indices)
