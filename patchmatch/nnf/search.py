"""Nearest-neighbour fields: for every patch of image 0 the most similar ones of image 1.

A patch is named by its centre: that of pixel (y, x) has the rows ``y - p // 2`` to
``y - p // 2 + p - 1``. Patches lie wholly inside their images; a pixel too near to the border has
the flow and the cost of the nearest pixel whose patch does.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.nnf.exact import exact_matches
from patchmatch.nnf.kd_tree import CELL, cell_candidates, with_lower_bounds
from patchmatch.nnf.patches import Field, Problem, make_problems, to_field, to_places
from patchmatch.nnf.refine import (
    Matches,
    at_rest,
    improve,
    propagate,
    random_start,
    resting,
    search_by_patch_match,
)

SMALL = 2**24  # pairs of patches that are as quickly compared exactly


def patch_match(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    iterations: int = 5,
    count: int = 1,
    norm: str = "l2",
    reach: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
    seed: int = 0,
    start: Field | None = None,
) -> Iterator[Field]:
    """Yield the field after each iteration of PatchMatch (Barnes et al. 2009).

    Propagation is parallel, from the four places 8, 4, 2 and 1 pixels away; the random search
    halves its radius down to the next pixel. A match is only ever given up for a better one.

    Args:
        image0: Images, or feature maps of any number of channels.
        image1: The same of another size; the flow points into it.
        patch_size: Side of a patch in pixels.
        iterations: How many fields to yield.
        count: Matches of each pixel, the best first.
        norm: "l2": the cost sums squared differences over patch and channels; "l1": absolute ones.
        reach: Largest displacement in x and in y, in pixels; None for any. Where image 1 ends
            before a pixel of image 0, it counts from image 1's last row or column.
        valid0: Pixels to be matched; the cost of the others is infinite.
        valid1: Pixels that patches may be centred on.
        seed: The same seed gives the same field, whatever else is in the batch and however many
            threads; on another device up to rounding.
        start: Field to begin with; None for random matches.
    """
    problems = make_problems(image0, image1, patch_size, count, norm, reach, valid0, valid1)
    searches = [
        _search(problem, iterations, count, seed, None if start is None else start.flow[index])
        for index, problem in enumerate(problems)
    ]
    for matches in zip(*searches, strict=True):
        yield _field(problems, matches, valid0)


@torch.no_grad()
def _search(
    problem: Problem, iterations: int, count: int, seed: int, start: Tensor | None
) -> Iterator[Matches]:
    generator = torch.Generator().manual_seed(seed)
    problem = with_lower_bounds(problem)
    matches = resting(problem, count)
    if start is not None:
        for places in to_places(problem, start).T:
            improve(problem, matches, places)
    if start is None or start.shape[0] < count:
        random_start(problem, matches, generator)
    yield from search_by_patch_match(problem, matches, iterations, generator)


def exact_field(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    count: int = 1,
    norm: str = "l2",
    reach: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
) -> Field:
    """Return the true nearest neighbours, by brute force in bounded memory.

    Costs within rounding of each other may stand in either order. The arguments are those of
    ``patch_match``.
    """
    problems = make_problems(image0, image1, patch_size, count, norm, reach, valid0, valid1)
    with torch.no_grad():
        return _field(problems, [_exact(p, count) for p in problems], valid0)


def _exact(problem: Problem, count: int) -> Matches:
    matches, still = resting(problem, count), at_rest(problem)
    for places in exact_matches(problem, count)[0].T:
        improve(problem, matches, torch.where(places < 0, still, places))
    return matches


class Preset(NamedTuple):
    """How hard ``nearest_neighbours`` searches.

    Attributes:
        dimensions: Principal components that cells are compared by.
        probes: Cells of image 1 that each cell of image 0 is compared with.
        kept: Candidates of each patch whose true cost is looked at.
        propagations: Rounds of propagation after that.
        iterations: Of PatchMatch in their place, where the search is kept within a reach.
    """

    dimensions: int
    probes: int
    kept: int
    propagations: int
    iterations: int


PRESETS = {
    "fast": Preset(dimensions=16, probes=8, kept=2, propagations=1, iterations=4),
    "balanced": Preset(dimensions=24, probes=32, kept=4, propagations=2, iterations=8),
    "accurate": Preset(dimensions=32, probes=64, kept=8, propagations=3, iterations=16),
}


def nearest_neighbours(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    preset: str = "balanced",
    count: int = 1,
    norm: str = "l2",
    reach: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
    seed: int = 0,
    iterations: int | None = None,
) -> Iterator[Field]:
    """Yield the field that cells of like patches give, then after each round of propagation.

    Patches of both images are reduced to principal components and compared cell by cell
    (``nnf_cells``), the best candidates by their true cost; then flow spreads to the next pixels as
    in PatchMatch. Small images are compared exactly. Within a ``reach`` cells would hold mostly
    what lies beyond it: there it is PatchMatch.

    Args:
        image0: Images, or feature maps of any number of channels.
        image1: The same of another size; the flow points into it.
        patch_size: Side of a patch in pixels.
        preset: "fast", "balanced" or "accurate".
        count: Matches of each pixel, the best first.
        norm: As of ``patch_match``, as are the three that follow; "l1" finds its candidates by
            squared differences.
        reach: In pixels.
        valid0: Pixels of image 0.
        valid1: Pixels of image 1.
        seed: Of the random search within a ``reach``; nothing else is random.
        iterations: Rounds after the first field in place of the preset's.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    problems = make_problems(image0, image1, patch_size, count, norm, reach, valid0, valid1)
    searches = [_hybrid(problem, PRESETS[preset], iterations, count, seed) for problem in problems]
    for matches in zip(*searches, strict=True):
        yield _field(problems, matches, valid0)


@torch.no_grad()
def _hybrid(
    problem: Problem, preset: Preset, iterations: int | None, count: int, seed: int
) -> Iterator[Matches]:
    total0, total1 = (
        len(rows) if mask is None else int(mask.sum())
        for rows, mask in ((problem.rows0, problem.wanted), (problem.rows1, problem.usable))
    )
    kept = preset.kept + 2 * (count - 1)
    # where no more cells are left than are looked at, everything would be compared anyway
    if total0 * total1 <= SMALL or total1 <= CELL * max(kept, preset.probes):
        matches = _exact(problem, count)
        for _ in range(1 + (preset.propagations if iterations is None else iterations)):
            yield matches
    elif problem.reach is not None:
        rounds = preset.iterations if iterations is None else iterations
        yield from _search(problem, rounds, count, seed, None)
    else:
        matches = resting(problem, count)
        candidates = cell_candidates(problem, preset.dimensions, preset.probes, kept)
        for column in candidates.T.contiguous():
            improve(problem, matches, column)
        yield matches
        for _ in range(preset.propagations if iterations is None else iterations):
            propagate(problem, matches, 1)
            yield matches


def _field(
    problems: list[Problem],
    matches: list[Matches] | tuple[Matches, ...],
    valid0: Bool[Tensor, "B H W"] | None,
) -> Field:
    fields = [to_field(problem, *found) for problem, found in zip(problems, matches, strict=True)]
    flow, cost = (torch.stack(parts) for parts in zip(*fields, strict=True))
    # a patch may have been wanted for the border's sake alone
    return Field(flow, cost if valid0 is None else cost.masked_fill(~valid0[:, None], torch.inf))
