"""Nearest-neighbour fields: for every patch of image 0 the most similar ones of image 1.

A patch is named by its centre: that of pixel (y, x) has the rows ``y - p // 2`` to
``y - p // 2 + p - 1``. Patches lie wholly inside their images; a pixel too near to the border has
the flow and the cost of the nearest pixel whose patch does.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.ops.nnf_exact import exact_matches
from patchmatch.ops.nnf_patches import Field, Problem, make_problems, to_field, to_places
from patchmatch.ops.nnf_refine import (
    Matches,
    improve,
    no_matches,
    random_start,
    search_by_patch_match,
)


def patch_match(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
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
        seed: The same seed gives the same field, on every device and whatever else is in the batch.
        start: Field to begin with; None for random matches.
    """
    problems = make_problems(image0, image1, patch_size, count, norm, reach, valid0, valid1)
    searches = [
        _search(problem, iterations, count, seed, None if start is None else start.flow[index])
        for index, problem in enumerate(problems)
    ]
    for matches in zip(*searches, strict=True):
        yield _field(problems, matches)


@torch.no_grad()
def _search(
    problem: Problem, iterations: int, count: int, seed: int, start: Tensor | None
) -> Iterator[Matches]:
    generator = torch.Generator().manual_seed(seed)
    matches = no_matches(problem, count)
    if start is not None:
        for places in to_places(problem, start).T:
            improve(problem, matches, places)
    if start is None or start.shape[0] < count:
        random_start(problem, matches, generator)
    yield from search_by_patch_match(problem, matches, iterations, generator)


def exact_field(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
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
        return _field(problems, [exact_matches(problem, count) for problem in problems])


def nearest_neighbours(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
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
    """Yield the field of a preset, refined step by step."""
    steps = {"fast": 3, "balanced": 8, "accurate": 16}[preset] if iterations is None else iterations
    yield from patch_match(
        image0, image1, patch_size, iterations=steps, count=count, norm=norm, reach=reach,
        valid0=valid0, valid1=valid1, seed=seed,
    )  # fmt: skip


def _field(problems: list[Problem], matches: list[Matches] | tuple[Matches, ...]) -> Field:
    fields = [to_field(problem, *found) for problem, found in zip(problems, matches, strict=True)]
    flow, cost = zip(*fields, strict=True)
    return Field(torch.stack(flow), torch.stack(cost))
