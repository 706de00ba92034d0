"""The whole patches of an image pair as rows of two matrices, on which all searches operate.

The index of a patch is its number in the grid of whole patches, row by row.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from patchmatch.nnf.grid import crop_to_patches, nearest_patch, pad_to_image, unravel

NORMS = ("l1", "l2")
CACHE_ROWS = 2048  # patches processed at once on the CPU: they stay in its cache


class Field(NamedTuple):
    """The best matches of every pixel, for a batch of image pairs.

    Attributes:
        flow: (B, K, 2, H, W) long, dx and dy in pixels.
        cost: (B, K, H, W), ascending along K; infinite where nothing could be matched. The K
            matches of a pixel all differ.
    """

    flow: Int[Tensor, "B K 2 H W"]
    cost: Float[Tensor, "B K H W"]


class SearchProblem(NamedTuple):
    """One image pair, cut into patches of D = C * patch_size ** 2 values.

    Attributes:
        patches0: (N, D), the patches of image 0.
        patches1: (M, D), the patches of image 1.
        grid0: Rows and columns of the patch grid of image 0, N patches.
        grid1: Rows and columns of the patch grid of image 1, M patches.
        size0: Height and width of image 0.
        patch_size: Side of a patch in pixels.
        norm: "l2" for squared differences, "l1" for absolute ones.
        max_displacement: Largest displacement in x and in y, in pixels; None for any.
        query_mask: (N,) bool, patches of image 0 to match; None for all.
        target_mask: (M,) bool, patches of image 1 that may be matched; None for all.
        projected: (N, d) and (M, d), the patches projected onto a few orthonormal axes: squared
            distances between them are lower bounds of the cost. None disables the bounds.
    """

    patches0: Tensor
    patches1: Tensor
    grid0: tuple[int, int]
    grid1: tuple[int, int]
    size0: tuple[int, int]
    patch_size: int
    norm: str
    max_displacement: int | None
    query_mask: Tensor | None
    target_mask: Tensor | None
    projected: tuple[Tensor, Tensor] | None = None


def extract_patches(image: Float[Tensor, "C H W"], patch_size: int) -> Float[Tensor, "N D"]:
    """Return the whole patches of an image as rows, each ordered by row, column and channel."""
    patches = image.movedim(0, -1).unfold(0, patch_size, 1).unfold(1, patch_size, 1)
    patches = patches.permute(0, 1, 3, 4, 2)  # (h, w, patch_size, patch_size, C)
    return patches.reshape(patches.shape[0] * patches.shape[1], -1)


def chunk_rows(device: torch.device) -> int:
    """Return how many patches to process at once: cache-sized on the CPU, more on a GPU."""
    return CACHE_ROWS if device.type == "cpu" else 64 * CACHE_ROWS


def require_norm(norm: str) -> None:
    """Raise ValueError unless ``norm`` is known."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def _require_searchable(
    image0: Tensor,
    image1: Tensor,
    patch_size: int,
    k: int,
    norm: str,
    max_displacement: int | None,
) -> None:
    """Raise ValueError unless the images can be searched with these options."""
    require_norm(norm)
    if patch_size < 1 or k < 1:
        raise ValueError(f"patch_size and k must be at least 1, got patch_size={patch_size}, k={k}")
    if max_displacement is not None and max_displacement < 0:
        raise ValueError(f"max_displacement must be at least 0 pixels, got {max_displacement}")
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
        # principal components depend on all pixels, so a single NaN would affect every match
        if not image.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinite values")
    patches = (image1.shape[-2] - patch_size + 1) * (image1.shape[-1] - patch_size + 1)
    if k > patches:
        raise ValueError(f"k must be at most the {patches} patches of image1, got {k}")


def make_problems(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C1 H1 W1"],
    patch_size: int,
    k: int,
    norm: str,
    max_displacement: int | None,
    valid0: Bool[Tensor, "B H W"] | None,
    valid1: Bool[Tensor, "B H1 W1"] | None,
) -> list[SearchProblem]:
    """Return the search problem of each pair of a batch.

    Raises:
        ValueError: If the images cannot be searched with these options.
    """
    _require_searchable(image0, image1, patch_size, k, norm, max_displacement)
    grid0, grid1 = (
        (image.shape[-2] - patch_size + 1, image.shape[-1] - patch_size + 1)
        for image in (image0, image1)
    )
    return [
        SearchProblem(
            patches0=extract_patches(image0[i].detach(), patch_size),
            patches1=extract_patches(image1[i].detach(), patch_size),
            grid0=grid0,
            grid1=grid1,
            size0=(image0.shape[-2], image0.shape[-1]),
            patch_size=patch_size,
            norm=norm,
            max_displacement=max_displacement,
            query_mask=None if valid0 is None else _query_mask(valid0[i], patch_size),
            target_mask=None
            if valid1 is None
            else crop_to_patches(valid1[i], patch_size).flatten(),
        )
        for i in range(len(image0))
    ]


def _query_mask(valid: Bool[Tensor, "H W"], patch_size: int) -> Bool[Tensor, " N"]:
    """Return which patches are the patch of a valid pixel, pixels at the border included."""
    height, width = valid.shape
    y = nearest_patch(height, patch_size, valid.device)
    x = nearest_patch(width, patch_size, valid.device)
    columns = width - patch_size + 1
    indices = y[:, None] * columns + x  # (H, W)
    counts = torch.zeros((height - patch_size + 1) * columns, device=valid.device)
    return counts.index_add(0, indices.flatten(), valid.flatten().to(counts.dtype)) > 0


def axis_limits(
    problem: SearchProblem, position: Int[Tensor, "*n"], axis: int
) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
    """Return the first and the last row (axis 0) or column (axis 1) that may be matched.

    A position beyond the end of image 1 is replaced by the last one in it.

    Args:
        problem: The pair.
        position: Rows or columns of patches of image 0.
        axis: 0 for rows, 1 for columns.
    """
    last = problem.grid1[axis] - 1
    if problem.max_displacement is None:
        return torch.zeros_like(position), torch.full_like(position, last)
    centre = position.clamp_max(last)
    return (
        (centre - problem.max_displacement).clamp_min(0),
        (centre + problem.max_displacement).clamp_max(last),
    )


def search_window(
    problem: SearchProblem, indices0: Int[Tensor, " n"]
) -> tuple[Int[Tensor, "2 n"], Int[Tensor, "2 n"]]:
    """Return the first and the last (row, column) that patches of image 0 may be matched to."""
    positions = unravel(indices0, problem.grid0[1])
    limits = [axis_limits(problem, position, axis) for axis, position in enumerate(positions)]
    first, last = (torch.stack(ends) for ends in zip(*limits, strict=True))
    return first, last


def zero_displacement(problem: SearchProblem) -> Int[Tensor, " N"]:
    """Return the patch of image 1 at the position of each patch of image 0, or the nearest one."""
    own = torch.arange(len(problem.patches0), device=problem.patches0.device)
    y, x = unravel(own, problem.grid0[1])
    y, x = y.clamp_max(problem.grid1[0] - 1), x.clamp_max(problem.grid1[1] - 1)
    return y * problem.grid1[1] + x


def match_costs(
    problem: SearchProblem, indices1: Int[Tensor, " n"], indices0: Int[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    """Return the cost of matching patches of image 0 to patches of image 1, one to one.

    Args:
        problem: The pair.
        indices1: Patches of image 1.
        indices0: Patches of image 0; None for all, in order.
    """
    patches0, patches1 = problem.patches0, problem.patches1
    costs = patches0.new_empty(len(indices1))
    chunk = min(chunk_rows(patches0.device), len(indices1))
    gathered, own = (patches0.new_empty(chunk, patches0.shape[1]) for _ in range(2))
    for start in range(0, len(indices1), max(chunk, 1)):
        part = slice(start, min(start + chunk, len(indices1)))
        size = part.stop - start
        difference = torch.index_select(patches1, 0, indices1[part], out=gathered[:size])
        if indices0 is None:
            difference.sub_(patches0[part])
        else:
            difference.sub_(torch.index_select(patches0, 0, indices0[part], out=own[:size]))
        difference = difference.abs_() if problem.norm == "l1" else difference.square_()
        torch.sum(difference, dim=1, out=costs[part])
    if problem.target_mask is not None:
        costs.masked_fill_(~problem.target_mask[indices1], torch.inf)
    return costs


def matches_to_field(
    problem: SearchProblem, indices1: Int[Tensor, "N K"], costs: Float[Tensor, "N K"]
) -> tuple[Int[Tensor, "K 2 H W"], Float[Tensor, "K H W"]]:
    """Return flow and cost on the pixel grid of image 0."""
    indices1 = _fill_missing(problem, indices1)
    own = torch.arange(len(indices1), device=indices1.device)[:, None]
    dy, dx = unravel(indices1, problem.grid1[1]) - unravel(own, problem.grid0[1])
    flow = torch.stack([dx, dy]).unflatten(1, problem.grid0).permute(3, 0, 1, 2)  # (K, 2, h, w)
    cost = costs.unflatten(0, problem.grid0).movedim(-1, 0)  # (K, h, w)
    return pad_to_image(flow, problem.patch_size), pad_to_image(cost, problem.patch_size)


def _fill_missing(problem: SearchProblem, indices1: Int[Tensor, "N K"]) -> Int[Tensor, "N K"]:
    """Replace missing matches (negative) by patches at or after the zero displacement."""
    if not (indices1 < 0).any():
        return indices1
    indices1 = indices1.clone()
    zero = zero_displacement(problem)
    for column in range(indices1.shape[1]):
        for offset in range(indices1.shape[1]):  # one of K candidates is not in the row yet
            candidate = (zero + offset) % len(problem.patches1)
            missing = (indices1[:, column] < 0) & ~(indices1 == candidate[:, None]).any(dim=1)
            indices1[missing, column] = candidate[missing]
    return indices1


def flow_to_indices(problem: SearchProblem, flow: Int[Tensor, "K 2 H W"]) -> Int[Tensor, "N K"]:
    """Return the patches of image 1 that a flow points to, clamped to the search window."""
    dx, dy = crop_to_patches(flow, problem.patch_size).flatten(2).unbind(dim=1)  # (K, N)
    own = torch.arange(dx.shape[1], device=flow.device)
    first, last = search_window(problem, own)
    y, x = unravel(own, problem.grid0[1])
    y, x = (y + dy).clamp(first[0], last[0]), (x + dx).clamp(first[1], last[1])  # (K, N)
    return (y * problem.grid1[1] + x).T
