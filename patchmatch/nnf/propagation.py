"""The steps of PatchMatch (Barnes et al. 2009) in parallel form: propagation, random search."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchmatch.nnf.grid import unravel
from patchmatch.nnf.patches import (
    SearchProblem,
    axis_limits,
    match_costs,
    search_window,
    zero_displacement,
)

PROPAGATION_STEPS = (8, 4, 2, 1)  # distances of the neighbours in pixels
BOUND_TOLERANCE = 1e-4  # relative rounding error of a lower bound
RADIUS_DECAY = 0.5  # of the random search, alpha in the paper


class Matches(NamedTuple):
    """The best matches of every patch of image 0 so far; the steps update them in place.

    Attributes:
        indices: (N, K) patches of image 1, best first; distinct negative numbers where no match
            has been found.
        costs: (N, K), ascending; infinite where no match has been found.
    """

    indices: Int[Tensor, "N K"]
    costs: Float[Tensor, "N K"]


def empty_matches(problem: SearchProblem, k: int) -> Matches:
    """Return k missing matches for every patch."""
    total = len(problem.patches0)
    indices = -1 - torch.arange(k, device=problem.patches0.device).expand(total, k)
    return Matches(indices.clone(), problem.patches0.new_full((total, k), torch.inf))


def update_matches(problem: SearchProblem, matches: Matches, candidates: Int[Tensor, " N"]) -> None:
    """Replace the worst match of each patch by its candidate where that costs less."""
    indices, costs = matches
    is_new = (indices != candidates[:, None]).all(dim=1)
    if problem.query_mask is not None:
        is_new &= problem.query_mask
    queries = is_new.nonzero().squeeze(1)
    if len(queries) == 0:
        return
    targets = candidates[queries]
    if problem.projected is not None:
        projected0, projected1 = problem.projected
        # index_select copies whole rows; advanced indexing copies single values
        difference = projected0.index_select(0, queries).sub_(projected1.index_select(0, targets))
        bound = difference.square_().sum(dim=1)
        kept = (bound <= (1 + BOUND_TOLERANCE) * costs[queries, -1]).nonzero().squeeze(1)
        queries, targets = queries[kept], targets[kept]
    cost = match_costs(problem, targets, queries if len(queries) < len(is_new) else None)
    better = (cost < costs[queries, -1]).nonzero().squeeze(1)
    queries = queries[better]
    indices[queries, -1], costs[queries, -1] = targets[better], cost[better]
    if indices.shape[1] > 1:
        ordered, order = costs[queries].sort(dim=1, stable=True)
        costs[queries] = ordered
        indices[queries] = indices[queries].gather(1, order)


def sample_windows(
    first: Int[Tensor, "2 N"], last: Int[Tensor, "2 N"], columns: int, generator: torch.Generator
) -> Int[Tensor, " N"]:
    """Draw a patch uniformly from each window of rows and columns, both ends included."""
    # drawn on the CPU, so that a seed gives the same field on every device
    uniform = torch.rand(first.shape, generator=generator).to(first.device)
    y, x = first + (uniform * (last - first + 1)).long().minimum(last - first)
    return y * columns + x


def zero_displacement_matches(problem: SearchProblem, k: int) -> Matches:
    """Return matches with zero displacement; candidates of equal cost do not replace them."""
    matches = empty_matches(problem, k)
    update_matches(problem, matches, zero_displacement(problem))
    return matches


def random_initialization(
    problem: SearchProblem, matches: Matches, generator: torch.Generator
) -> None:
    """Draw matches from the whole search window; without one, from the target mask only."""
    own = torch.arange(len(problem.patches0), device=problem.patches0.device)
    targets = None
    if problem.max_displacement is None and problem.target_mask is not None:
        targets = problem.target_mask.nonzero().squeeze(1)
    for _ in range(matches.indices.shape[1]):
        if targets is None or len(targets) == 0:
            window = search_window(problem, own)
            candidates = sample_windows(*window, problem.grid1[1], generator)
        else:
            drawn = torch.randint(len(targets), (len(own),), generator=generator)
            candidates = targets[drawn.to(targets.device)]
        update_matches(problem, matches, candidates)


def neighbour_candidates(
    problem: SearchProblem, indices: Int[Tensor, " N"], dy: int, dx: int
) -> Int[Tensor, " N"]:
    """Return where each patch goes by the flow of its neighbour (dy, dx) away.

    Candidates are clamped to the search window.

    Args:
        problem: The pair.
        indices: A match of every patch.
        dy: Rows to the neighbour.
        dx: Columns to the neighbour.
    """
    rows, columns = problem.grid0
    own_y = torch.arange(rows, device=indices.device)[:, None]
    own_x = torch.arange(columns, device=indices.device)
    y, x = (own_y + dy).clamp(0, rows - 1), (own_x + dx).clamp(0, columns - 1)
    neighbours = indices.view(rows, columns)[y, x]  # (h, w)
    # rounds down, because missing matches are negative
    target_y = own_y + neighbours.div(problem.grid1[1], rounding_mode="floor") - y
    target_x = own_x + neighbours.remainder(problem.grid1[1]) - x
    target_y = target_y.clamp(*axis_limits(problem, own_y, 0))
    target_x = target_x.clamp(*axis_limits(problem, own_x, 1))
    return (target_y * problem.grid1[1] + target_x).flatten()


def propagate_matches(problem: SearchProblem, matches: Matches, step: int) -> None:
    """Try the flow of the four neighbours ``step`` pixels away."""
    for dy, dx in ((0, -step), (-step, 0), (0, step), (step, 0)):
        if abs(dy) >= problem.grid0[0] or abs(dx) >= problem.grid0[1]:
            continue
        for column in matches.indices.T.clone():  # a copy: matches change while they are read
            candidates = neighbour_candidates(problem, column, dy, dx)
            update_matches(problem, matches, candidates)


def random_search(problem: SearchProblem, matches: Matches, generator: torch.Generator) -> None:
    """Try random candidates around the matches, in windows that shrink down to one pixel."""
    own = torch.arange(len(problem.patches0), device=problem.patches0.device)
    first, last = search_window(problem, own)
    limit = problem.max_displacement
    radius = float(max(problem.grid1) if limit is None else limit)
    while radius >= 1:
        for column in matches.indices.T.clone():
            centre = unravel(column, problem.grid1[1]).clamp(first, last)
            low = (centre - int(radius)).maximum(first)
            high = (centre + int(radius)).minimum(last)
            candidates = sample_windows(low, high, problem.grid1[1], generator)
            update_matches(problem, matches, candidates)
        radius *= RADIUS_DECAY


def patch_match_iterations(
    problem: SearchProblem, matches: Matches, iterations: int, generator: torch.Generator
) -> Iterator[Matches]:
    """Run PatchMatch; yield the same, updated matches after each iteration."""
    for _ in range(iterations):
        for step in PROPAGATION_STEPS:
            propagate_matches(problem, matches, step)
        random_search(problem, matches, generator)
        yield matches
