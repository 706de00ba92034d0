"""Patches as rows of a matrix: what every search for nearest neighbours stands on.

A place is the number, row by row, of a patch that lies wholly inside its image. Searches speak of
places; ``to_field`` makes flow of them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NORMS = ("l1", "l2")
CHUNK = 2048  # rows that are compared at once: what is gathered stays in the cache


class Field(NamedTuple):
    """The best matches of every pixel.

    Attributes:
        flow: (B, K, 2, H, W) long, dx and dy in pixels.
        cost: (B, K, H, W), best first along K; infinite where nothing could be matched. The K
            matches of a pixel are all different.
    """

    flow: Int[Tensor, "B K 2 H W"]
    cost: Float[Tensor, "B K H W"]


class Problem(NamedTuple):
    """One pair of images, cut into patches of D = C * patch_size ** 2 values.

    Attributes:
        rows0: (N, D), the patches of image 0.
        rows1: (M, D), the patches of image 1.
        grid0: Rows and columns of the places of image 0, N in all.
        grid1: The same of image 1, M in all.
        size0: Height and width of image 0.
        patch_size: Side of a patch in pixels.
        norm: "l2" for squared differences, "l1" for absolute ones.
        reach: How far the search goes in x and in y, in pixels; None for everywhere.
        wanted: (N,) bool, places of image 0 to be matched; None for all.
        usable: (M,) bool, places of image 1 that may be matched; None for all.
        reduced: (N, d) and (M, d), the patches along a few orthonormal axes: the squared distance
            of two is a lower bound of their cost. None where candidates are not to be sorted out.
    """

    rows0: Tensor
    rows1: Tensor
    grid0: tuple[int, int]
    grid1: tuple[int, int]
    size0: tuple[int, int]
    patch_size: int
    norm: str
    reach: int | None
    wanted: Tensor | None
    usable: Tensor | None
    reduced: tuple[Tensor, Tensor] | None = None


def patch_rows(image: Float[Tensor, "C H W"], patch_size: int) -> Float[Tensor, "N D"]:
    """Return every patch wholly inside an image as a row: its rows, columns, then channels."""
    patches = image.movedim(0, -1).unfold(0, patch_size, 1).unfold(1, patch_size, 1)
    patches = patches.permute(0, 1, 3, 4, 2)  # (h, w, patch_size, patch_size, C)
    return patches.reshape(patches.shape[0] * patches.shape[1], -1)


def nearest_whole(size: int, patch_size: int, device: torch.device) -> Int[Tensor, " size"]:
    """Return for each pixel of an axis the first pixel of the nearest patch wholly inside."""
    return (torch.arange(size, device=device) - patch_size // 2).clamp(0, size - patch_size)


def check_arguments(
    image0: Tensor, image1: Tensor, patch_size: int, count: int, norm: str, reach: int | None
) -> None:
    """Refuse what no search can work with.

    Numbers that are none would spread: a principal component is made of all pixels.
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if patch_size < 1 or count < 1:
        raise ValueError(
            f"patch_size and count must be at least 1, got patch_size {patch_size}, count {count}"
        )
    if reach is not None and reach < 0:
        raise ValueError(f"reach must be at least 0 pixels, got {reach}")
    if image0.shape[:2] != image1.shape[:2]:
        raise ValueError(
            "image0 and image1 must have the same batch size and number of channels, got "
            f"{tuple(image0.shape[:2])} and {tuple(image1.shape[:2])}"
        )
    for name, image in (("image0", image0), ("image1", image1)):
        height, width = image.shape[-2:]
        if min(height, width) < patch_size:
            raise ValueError(
                f"{name} must hold at least one patch of {patch_size}x{patch_size} pixels, "
                f"got {height}x{width}"
            )
        if not image.isfinite().all():
            raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
    places = (image1.shape[-2] - patch_size + 1) * (image1.shape[-1] - patch_size + 1)
    if count > places:
        raise ValueError(f"image1 holds {places} patches, count asks for {count} of them")


def make_problems(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int,
    count: int,
    norm: str,
    reach: int | None,
    valid0: Bool[Tensor, "B H W"] | None,
    valid1: Bool[Tensor, "B H1 W1"] | None,
) -> list[Problem]:
    """Return the problem of each pair of a batch."""
    check_arguments(image0, image1, patch_size, count, norm, reach)
    grids = [
        (image.shape[-2] - patch_size + 1, image.shape[-1] - patch_size + 1)
        for image in (image0, image1)
    ]
    middle = patch_size // 2
    problems = []
    for index in range(len(image0)):
        wanted = usable = None
        if valid0 is not None:
            wanted = _any_wanted(valid0[index], patch_size)
        if valid1 is not None:
            rows, columns = grids[1]
            usable = valid1[index, middle : middle + rows, middle : middle + columns].flatten()
        problems.append(
            Problem(
                rows0=patch_rows(image0[index].detach(), patch_size),
                rows1=patch_rows(image1[index].detach(), patch_size),
                grid0=grids[0],
                grid1=grids[1],
                size0=(image0.shape[-2], image0.shape[-1]),
                patch_size=patch_size,
                norm=norm,
                reach=reach,
                wanted=wanted,
                usable=usable,
            )
        )
    return problems


def _any_wanted(valid: Bool[Tensor, "H W"], patch_size: int) -> Bool[Tensor, " N"]:
    """Return which patches wholly inside stand for a pixel to be matched, near the border too."""
    height, width = valid.shape
    y = nearest_whole(height, patch_size, valid.device)
    x = nearest_whole(width, patch_size, valid.device)
    columns = width - patch_size + 1
    places = y[:, None] * columns + x  # (H, W)
    counts = torch.zeros((height - patch_size + 1) * columns, device=valid.device)
    return counts.index_add(0, places.flatten(), valid.flatten().to(counts.dtype)) > 0


def window(
    problem: Problem, which: Int[Tensor, " n"]
) -> tuple[Int[Tensor, "2 n"], Int[Tensor, "2 n"]]:
    """Return the first and the last (row, column) that may be matched to places of image 0.

    Where image 1 ends before the place, its last row or column is the middle of the window.
    """
    last = torch.tensor(problem.grid1, device=which.device)[:, None] - 1  # (2, 1)
    own = torch.stack([which // problem.grid0[1], which % problem.grid0[1]])  # (2, n)
    if problem.reach is None:
        return torch.zeros_like(own), last.expand_as(own)
    middle = torch.minimum(own, last)
    return (middle - problem.reach).clamp_min(0), torch.minimum(middle + problem.reach, last)


def match_costs(
    problem: Problem, places: Int[Tensor, " n"], which: Int[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    """Return the cost of matching places of image 0 to places of image 1, one to one.

    Args:
        problem: The pair.
        places: In image 1.
        which: In image 0; None for all in order.
    """
    rows0, rows1 = problem.rows0, problem.rows1
    costs = rows0.new_empty(len(places))
    chunk = min(CHUNK if rows0.device.type == "cpu" else 64 * CHUNK, len(places))
    gathered, own = (rows0.new_empty(chunk, rows0.shape[1]) for _ in range(2))
    for start in range(0, len(places), max(chunk, 1)):
        part = slice(start, min(start + chunk, len(places)))
        size = part.stop - start
        difference = torch.index_select(rows1, 0, places[part], out=gathered[:size])
        if which is None:
            difference.sub_(rows0[part])
        else:
            difference.sub_(torch.index_select(rows0, 0, which[part], out=own[:size]))
        difference = difference.abs_() if problem.norm == "l1" else difference.square_()
        torch.sum(difference, dim=1, out=costs[part])
    if problem.usable is not None:
        costs.masked_fill_(~problem.usable[places], torch.inf)
    return costs


def to_field(
    problem: Problem, places: Int[Tensor, "N K"], costs: Float[Tensor, "N K"]
) -> tuple[Int[Tensor, "K 2 H W"], Float[Tensor, "K H W"]]:
    """Return flow and cost on the whole grid of image 0; the border has its nearest patch's."""
    places = _name_the_missing(problem, places)
    own = torch.arange(len(places), device=places.device)[:, None]
    columns0, columns1 = problem.grid0[1], problem.grid1[1]
    dx = places % columns1 - own % columns0
    dy = places // columns1 - own // columns0
    flow = torch.stack([dx, dy]).unflatten(1, problem.grid0).permute(3, 0, 1, 2)  # (K, 2, h, w)
    cost = costs.unflatten(0, problem.grid0).movedim(-1, 0)  # (K, h, w)
    y = nearest_whole(problem.size0[0], problem.patch_size, places.device)[:, None]
    x = nearest_whole(problem.size0[1], problem.patch_size, places.device)
    return flow[:, :, y, x], cost[:, y, x]


def _name_the_missing(problem: Problem, places: Int[Tensor, "N K"]) -> Int[Tensor, "N K"]:
    """Give matches that were not found (below 0) places that stand still or nearly so."""
    if not (places < 0).any():
        return places
    places = places.clone()
    own = torch.arange(len(places), device=places.device)
    y = (own // problem.grid0[1]).clamp_max(problem.grid1[0] - 1)
    x = (own % problem.grid0[1]).clamp_max(problem.grid1[1] - 1)
    still = y * problem.grid1[1] + x  # (N,)
    for column in range(places.shape[1]):
        for further in range(places.shape[1]):  # one of them is not in the row yet
            candidate = (still + further) % len(problem.rows1)
            free = (places[:, column] < 0) & ~(places == candidate[:, None]).any(dim=1)
            places[free, column] = candidate[free]
    return places


def to_places(problem: Problem, flow: Int[Tensor, "K 2 H W"]) -> Int[Tensor, "N K"]:
    """Return the places that a flow on the whole grid points to, the nearest that are in reach."""
    middle = problem.patch_size // 2
    rows, columns = problem.grid0
    flow = flow[:, :, middle : middle + rows, middle : middle + columns].flatten(2)  # (K, 2, N)
    own = torch.arange(rows * columns, device=flow.device)
    first, last = window(problem, own)
    y = (own // columns + flow[:, 1]).clamp(first[0], last[0])  # (K, N)
    x = (own % columns + flow[:, 0]).clamp(first[1], last[1])
    return (y * problem.grid1[1] + x).T
