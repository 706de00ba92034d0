"""Nearest-neighbour fields: for every patch of image 0 the most similar patches of image 1.

The match of a pixel is that of the patch centred on it. Patches lie wholly inside their images; a
pixel whose patch would cross the border gets flow and cost of the nearest pixel with a whole patch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.nnf.exact import exact_matches
from patchmatch.nnf.kd_tree import LEAF_SIZE, kd_tree_candidates, with_lower_bounds
from patchmatch.nnf.patches import (
    Field,
    SearchProblem,
    flow_to_indices,
    make_problems,
    matches_to_field,
    zero_displacement,
)
from patchmatch.nnf.propagation import (
    Matches,
    patch_match_iterations,
    propagate_matches,
    random_initialization,
    update_matches,
    zero_displacement_matches,
)

EXACT_COSTS = 2**24  # brute force is as fast as a preset up to this many pairs of patches


def patch_match(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    iterations: int = 5,
    k: int = 1,
    norm: str = "l2",
    max_displacement: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
    seed: int = 0,
    start: Field | None = None,
) -> Iterator[Field]:
    """Yield the field after each iteration of PatchMatch (Barnes et al. 2009).

    Propagation is parallel, from the four neighbours 8, 4, 2 and 1 pixels away. The random search
    halves its radius down to one pixel. The cost of a pixel never increases.

    Args:
        image0: Images, or feature maps with any number of channels.
        image1: The images that the flow points into; their size may differ.
        patch_size: Side of a patch in pixels.
        iterations: Number of iterations, and of fields.
        k: Matches of each pixel, best first.
        norm: "l2": the cost sums squared differences over patch and channels; "l1": absolute ones.
        max_displacement: Largest displacement in x and in y, in pixels; None for any. For pixels
            beyond the last row or column of image 1 it is measured from that.
        valid0: Pixels to match; the cost of all others is infinite.
        valid1: Pixels that a matched patch may be centred on.
        seed: Seed of the search. The field of a pair depends neither on the rest of the batch nor
            on the number of threads; devices differ by rounding.
        start: Initial field; None for random matches.

    Raises:
        ValueError: If an argument is out of range or the images cannot be compared.
    """
    problems = make_problems(image0, image1, patch_size, k, norm, max_displacement, valid0, valid1)
    searches = [
        _search_patch_match(problem, iterations, k, seed, None if start is None else start.flow[i])
        for i, problem in enumerate(problems)
    ]
    for matches in zip(*searches, strict=True):
        yield _stack_fields(problems, matches, valid0)


@torch.no_grad()
def _search_patch_match(
    problem: SearchProblem, iterations: int, k: int, seed: int, start: Tensor | None
) -> Iterator[Matches]:
    generator = torch.Generator().manual_seed(seed)
    problem = with_lower_bounds(problem)
    matches = zero_displacement_matches(problem, k)
    if start is not None:
        for indices in flow_to_indices(problem, start).T:
            update_matches(problem, matches, indices)
    if start is None or start.shape[0] < k:
        random_initialization(problem, matches, generator)
    yield from patch_match_iterations(problem, matches, iterations, generator)


def exact_field(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    k: int = 1,
    norm: str = "l2",
    max_displacement: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
) -> Field:
    """Return the exact nearest neighbours, by brute force in bounded memory.

    Matches whose costs are equal up to rounding may be in any order. Arguments and errors are those
    of ``patch_match``.
    """
    problems = make_problems(image0, image1, patch_size, k, norm, max_displacement, valid0, valid1)
    with torch.no_grad():
        return _stack_fields(problems, [_search_exactly(p, k) for p in problems], valid0)


def _search_exactly(problem: SearchProblem, k: int) -> Matches:
    matches, zero = zero_displacement_matches(problem, k), zero_displacement(problem)
    for indices in exact_matches(problem, k).indices.T:
        update_matches(problem, matches, torch.where(indices < 0, zero, indices))
    return matches


class Preset(NamedTuple):
    """The effort of ``nearest_neighbours``.

    Attributes:
        dimensions: Principal components that leaves of the k-d trees are compared by.
        probes: Leaves of image 1 that each leaf of image 0 is compared with.
        candidates: Candidates of each patch whose exact cost is computed.
        propagations: Rounds of propagation that follow.
        iterations: Iterations of PatchMatch, which replaces all this under a maximum displacement.
    """

    dimensions: int
    probes: int
    candidates: int
    propagations: int
    iterations: int


PRESETS = {
    "fast": Preset(dimensions=16, probes=8, candidates=2, propagations=1, iterations=4),
    "balanced": Preset(dimensions=24, probes=32, candidates=4, propagations=2, iterations=8),
    "accurate": Preset(dimensions=32, probes=64, candidates=8, propagations=3, iterations=16),
}


def nearest_neighbours(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int = 7,
    *,
    preset: str = "balanced",
    k: int = 1,
    norm: str = "l2",
    max_displacement: int | None = None,
    valid0: Bool[Tensor, "B H W"] | None = None,
    valid1: Bool[Tensor, "B H1 W1"] | None = None,
    seed: int = 0,
    iterations: int | None = None,
) -> Iterator[Field]:
    """Yield the field found by k-d trees, then the field after each round of propagation.

    Leaves of k-d trees give the candidates (``kd_tree.kd_tree_candidates``); the exact cost selects
    among them. Then flow propagates between adjacent pixels as in PatchMatch. Small images are
    compared by brute force. With ``max_displacement`` PatchMatch is used, because leaves would
    mostly hold patches that are too far away.

    Args:
        image0: Images, or feature maps with any number of channels.
        image1: The images that the flow points into; their size may differ.
        patch_size: Side of a patch in pixels.
        preset: "fast", "balanced" or "accurate".
        k: Matches of each pixel, best first.
        norm: As in ``patch_match``; with "l1" the candidates are found by squared differences.
        max_displacement: As in ``patch_match``.
        valid0: As in ``patch_match``.
        valid1: As in ``patch_match``.
        seed: Seed of PatchMatch; nothing else is random.
        iterations: Rounds after the first field; None for those of the preset.

    Raises:
        ValueError: If an argument is out of range or the images cannot be compared.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    problems = make_problems(image0, image1, patch_size, k, norm, max_displacement, valid0, valid1)
    searches = [_search_preset(p, PRESETS[preset], iterations, k, seed) for p in problems]
    for matches in zip(*searches, strict=True):
        yield _stack_fields(problems, matches, valid0)


@torch.no_grad()
def _search_preset(
    problem: SearchProblem, preset: Preset, iterations: int | None, k: int, seed: int
) -> Iterator[Matches]:
    total0, total1 = (
        len(patches) if mask is None else int(mask.sum())
        for patches, mask in (
            (problem.patches0, problem.query_mask),
            (problem.patches1, problem.target_mask),
        )
    )
    num_candidates = preset.candidates + 2 * (k - 1)
    rounds = preset.propagations if iterations is None else iterations
    # with this few leaves, almost everything would be compared anyway
    if total0 * total1 <= EXACT_COSTS or total1 <= LEAF_SIZE * max(num_candidates, preset.probes):
        matches = _search_exactly(problem, k)
        for _ in range(1 + rounds):
            yield matches
    elif problem.max_displacement is not None:
        rounds = preset.iterations if iterations is None else iterations
        yield from _search_patch_match(problem, rounds, k, seed, None)
    else:
        matches = zero_displacement_matches(problem, k)
        candidates = kd_tree_candidates(problem, preset.dimensions, preset.probes, num_candidates)
        for column in candidates.T.contiguous():
            update_matches(problem, matches, column)
        yield matches
        for _ in range(rounds):
            propagate_matches(problem, matches, 1)
            yield matches


def _stack_fields(
    problems: list[SearchProblem],
    matches: list[Matches] | tuple[Matches, ...],
    valid0: Bool[Tensor, "B H W"] | None,
) -> Field:
    fields = [matches_to_field(problem, *m) for problem, m in zip(problems, matches, strict=True)]
    flow, cost = (torch.stack(parts) for parts in zip(*fields, strict=True))
    # a patch may be matched only for the sake of other pixels at the border
    return Field(flow, cost if valid0 is None else cost.masked_fill(~valid0[:, None], torch.inf))
