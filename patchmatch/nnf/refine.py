"""PatchMatch (Barnes et al. 2009), in parallel form: propagation and random search."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from patchmatch.nnf.patches import Problem, match_costs, window

STEPS = (8, 4, 2, 1)  # of the propagation, in pixels
ROUNDING = 1e-4  # relative: a lower bound may come out that much too high
SHRINK = 0.5  # of the radius of the random search, alpha of the paper

Matches = tuple[Tensor, Tensor]  # places (N, K) and costs (N, K), best first; a place of -1 - k and
# an infinite cost stand for a match not found yet


def no_matches(problem: Problem, count: int) -> Matches:
    """Return matches of which none is found yet."""
    total = len(problem.rows0)
    places = -1 - torch.arange(count, device=problem.rows0.device).expand(total, count)
    return places.clone(), problem.rows0.new_full((total, count), torch.inf)


def improve(problem: Problem, matches: Matches, candidates: Int[Tensor, " N"]) -> None:
    """Keep a candidate for each place of image 0 where it is better than the worst kept."""
    places, costs = matches
    fresh = (places != candidates[:, None]).all(dim=1)
    if problem.wanted is not None:
        fresh &= problem.wanted
    which = fresh.nonzero().squeeze(1)
    if len(which) == 0:
        return
    found = candidates[which]
    if problem.reduced is not None:
        reduced0, reduced1 = problem.reduced
        # index_select copies whole rows, indexing goes number by number
        difference = reduced0.index_select(0, which).sub_(reduced1.index_select(0, found))
        least = difference.square_().sum(dim=1)
        near = (least <= (1 + ROUNDING) * costs[which, -1]).nonzero().squeeze(1)
        which, found = which[near], found[near]
    cost = match_costs(problem, found, which if len(which) < len(fresh) else None)
    better = (cost < costs[which, -1]).nonzero().squeeze(1)
    which = which[better]
    places[which, -1], costs[which, -1] = found[better], cost[better]
    if places.shape[1] > 1:
        ordered, order = costs[which].sort(dim=1, stable=True)
        costs[which] = ordered
        places[which] = places[which].gather(1, order)


def uniform_candidates(
    first: Int[Tensor, "2 N"], last: Int[Tensor, "2 N"], columns: int, generator: torch.Generator
) -> Int[Tensor, " N"]:
    """Draw a place for each window of rows and columns, both ends included."""
    # drawn on the CPU, so that a seed means the same field on every device
    uniform = torch.rand(first.shape, generator=generator).to(first.device)
    y, x = first + (uniform * (last - first + 1)).long().minimum(last - first)
    return y * columns + x


def at_rest(problem: Problem) -> Int[Tensor, " N"]:
    """Return where each place stays where it is, or comes as near to that as image 1 allows."""
    own = torch.arange(len(problem.rows0), device=problem.rows0.device)
    own = torch.stack([own // problem.grid0[1], own % problem.grid0[1]])
    last = torch.tensor(problem.grid1, device=own.device)[:, None] - 1
    y, x = torch.minimum(own, last)
    return y * problem.grid1[1] + x


def resting(problem: Problem, count: int) -> Matches:
    """Return matches that have not moved: among equals, these are kept."""
    matches = no_matches(problem, count)
    improve(problem, matches, at_rest(problem))
    return matches


def random_start(problem: Problem, matches: Matches, generator: torch.Generator) -> None:
    """Draw matches anywhere in reach, without one among those that may be matched."""
    own = torch.arange(len(problem.rows0), device=problem.rows0.device)
    usable = None
    if problem.reach is None and problem.usable is not None and problem.usable.any():
        usable = problem.usable.nonzero().squeeze(1)
    for _ in range(matches[0].shape[1]):
        if usable is None:
            candidates = uniform_candidates(*window(problem, own), problem.grid1[1], generator)
        else:
            drawn = torch.randint(len(usable), (len(own),), generator=generator)
            candidates = usable[drawn.to(usable.device)]
        improve(problem, matches, candidates)


def shifted_candidates(
    problem: Problem, places: Int[Tensor, " N"], dy: int, dx: int
) -> Int[Tensor, " N"]:
    """Return where each place goes by the flow of the place (dy, dx) away, kept within reach."""
    rows, columns = problem.grid0
    device = places.device
    y = (torch.arange(rows, device=device) + dy).clamp(0, rows - 1)[:, None]
    x = (torch.arange(columns, device=device) + dx).clamp(0, columns - 1)
    theirs = places.view(rows, columns)[y, x]  # (h, w)
    own_y = torch.arange(rows, device=device)[:, None]
    own_x = torch.arange(columns, device=device)
    target_y = own_y + theirs.div(problem.grid1[1], rounding_mode="floor") - y
    target_x = own_x + theirs.remainder(problem.grid1[1]) - x
    first, last = _limits(problem, own_y, 0), _limits(problem, own_x, 1)
    target_y = target_y.clamp(first[0], first[1])
    target_x = target_x.clamp(last[0], last[1])
    return (target_y * problem.grid1[1] + target_x).flatten()


def _limits(problem: Problem, own: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    end = problem.grid1[axis] - 1
    if problem.reach is None:
        return torch.zeros_like(own), torch.full_like(own, end)
    middle = own.clamp_max(end)
    return (middle - problem.reach).clamp_min(0), (middle + problem.reach).clamp_max(end)


def propagate(problem: Problem, matches: Matches, step: int) -> None:
    """Try the flow of the four places ``step`` away."""
    for dy, dx in ((0, -step), (-step, 0), (0, step), (step, 0)):
        if abs(dy) >= problem.grid0[0] or abs(dx) >= problem.grid0[1]:
            continue
        for column in matches[0].T.clone():  # a copy: matches change while they are read
            improve(problem, matches, shifted_candidates(problem, column, dy, dx))


def random_search(
    problem: Problem, matches: Matches, generator: torch.Generator, radius: int | None = None
) -> None:
    """Draw candidates around the matches, from windows that shrink down to the next pixel."""
    own = torch.arange(len(problem.rows0), device=problem.rows0.device)
    first, last = window(problem, own)
    widest = max(problem.grid1) if problem.reach is None else problem.reach
    extent = float(widest if radius is None else min(radius, widest))
    while extent >= 1:
        for column in matches[0].T.clone():
            middle = torch.stack([column // problem.grid1[1], column % problem.grid1[1]])
            middle = middle.clamp(first, last)
            low = (middle - int(extent)).maximum(first)
            high = (middle + int(extent)).minimum(last)
            candidates = uniform_candidates(low, high, problem.grid1[1], generator)
            improve(problem, matches, candidates)
        extent *= SHRINK


def search_by_patch_match(
    problem: Problem, matches: Matches, iterations: int, generator: torch.Generator
) -> Iterator[Matches]:
    """Improve matches, in place; yield them after each iteration."""
    for _ in range(iterations):
        for step in STEPS:
            propagate(problem, matches, step)
        random_search(problem, matches, generator)
        yield matches
