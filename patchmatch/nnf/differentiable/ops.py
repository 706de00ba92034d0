"""Operations on particles: candidate offsets of every pixel in a correspondence search.

A particle is a displacement (dx, dy), with two axes, or a disparity d, with one axis, which is the
displacement (-d, 0). Integer particles are long tensors, subpixel particles float tensors; all
functions take both. Particles are ``(B, K, A, H, W)``: K candidates on the grid of image 0.

With patches of P x P pixels both grids are those of whole patches, P - 1 pixels smaller than the
feature maps. An offset is the same on either.
"""

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from patchmatch.nnf.patches import require_norm

CACHE_VALUES = 2**18  # feature values compared at once on the CPU: they stay in its cache
MAX_COPIED = 2**26  # values: up to this many, patches are copied, which are read 3 times as fast
MASKED_COST = torch.finfo(torch.float32).max  # cost of a masked target


def as_displacement(particles: Num[Tensor, "B K A H W"]) -> Num[Tensor, "B K 2 H W"]:
    """Return dx and dy of particles; a disparity d is the displacement (-d, 0)."""
    if particles.shape[2] == 2:
        return particles
    return torch.cat([-particles, torch.zeros_like(particles)], dim=2)


def search_range(
    size0: tuple[int, int],
    size1: tuple[int, int],
    axes: int,
    max_displacement: int | None,
    device: torch.device,
) -> tuple[Int[Tensor, "1 A H W"], Int[Tensor, "1 A H W"]]:
    """Return the lowest and the highest offset of every pixel that stays inside image 1.

    Args:
        size0: Height and width of the grid of image 0.
        size1: Height and width of the grid of image 1.
        axes: 2 for displacements, 1 for disparities, which are at least 0.
        max_displacement: Largest component of an offset in pixels; None for any. Where this
            excludes all of image 1, the nearest pixel of image 1 remains.
        device: Device of the result.
    """
    (height0, width0), (height1, width1) = size0, size1
    x = torch.arange(width0, device=device).expand(height0, width0)
    y = torch.arange(height0, device=device)[:, None].expand(height0, width0)
    if axes == 1:
        low, high = (x - (width1 - 1)).clamp_min(0)[None, None], x[None, None]
        if max_displacement is None:
            return low, high
        return low, torch.maximum(high.clamp_max(max_displacement), low)
    low = torch.stack([-x, -y])[None]
    high = torch.stack([width1 - 1 - x, height1 - 1 - y])[None]
    if max_displacement is None:
        return low, high
    return (
        torch.minimum(low.clamp_min(-max_displacement), high),
        torch.maximum(high.clamp_max(max_displacement), low),
    )


def stratified_particles(
    low: Num[Tensor, "#B A #H #W"],
    high: Num[Tensor, "#B A #H #W"],
    stratum: Int[Tensor, "#B K A #H #W"],
    position: Float[Tensor, "#B K A #H #W"],
) -> Num[Tensor, "B K A H W"]:
    """Return K particles of each pixel, one from each of K equal strata of every axis.

    Args:
        low: The lowest offset; long for integer particles, float for subpixel ones.
        high: The highest offset.
        stratum: A permutation of 0 to K - 1 for each axis, which pairs the strata of the axes.
        position: Position of the particle in its stratum, uniform in [0, 1).
    """
    count = stratum.shape[1]
    low, high = low.unsqueeze(1), high.unsqueeze(1)
    if low.is_floating_point():
        return low + (high - low) * (stratum + position) / count
    span = high - low + 1
    first, last = span * stratum // count, span * (stratum + 1) // count
    inside = (position * (last - first)).long()
    return torch.minimum(low + first + torch.minimum(inside, (last - first - 1).clamp_min(0)), high)


def propagate_particles(
    particles: Num[Tensor, "B K A H W"], steps: tuple[int, ...] = (1,), axes: str = "xy"
) -> Num[Tensor, "B M A H W"]:
    """Return the particles of every pixel and of its neighbours; the border is replicated.

    Args:
        particles: K particles.
        steps: Distances of the neighbours in pixels.
        axes: ``x`` for the neighbours left and right, ``y`` for those above and below, or ``xy``.

    Returns:
        M = K (1 + 2 len(axes) len(steps)) particles: the pixel's own, then for each step those
        from above, the left, the right and below.
    """
    height, width = particles.shape[-2:]
    found = [particles]
    for step in steps:
        padded = F.pad(particles.flatten(1, 2), (step,) * 4, mode="replicate")
        padded = padded.unflatten(1, particles.shape[1:3])
        for x, y in neighbour_directions(axes):
            top, left = step * (1 + y), step * (1 + x)
            found.append(padded[..., top : top + height, left : left + width])
    return torch.cat(found, dim=1)


def propagate_particles_by_convolution(
    particles: Num[Tensor, "B K A H W"], steps: tuple[int, ...] = (1,), axes: str = "xy"
) -> Num[Tensor, "B M A H W"]:
    """Return the same as ``propagate_particles``, by convolution with one-hot filters.

    This is the form of the paper. It is slower, and exact for integer offsets below 2^24.
    """
    batch, count, components, height, width = particles.shape
    directions = [(0, 0), *neighbour_directions(axes)]
    filters = torch.zeros(len(directions), 1, 3, 3, device=particles.device)
    for i, (x, y) in enumerate(directions):
        filters[i, 0, 1 + y, 1 + x] = 1
    values = particles if particles.is_floating_point() else particles.float()
    values, found = values.flatten(0, 2)[:, None], []  # (B K A, 1, H, W)
    for i, step in enumerate(steps):
        padded = F.pad(values, (step,) * 4, mode="replicate")
        moved = F.conv2d(padded, filters[min(i, 1) :].to(values.dtype), dilation=step)
        moved = moved.view(batch, count, components, -1, height, width)
        found.append(moved.permute(0, 3, 1, 2, 4, 5).flatten(1, 2))  # (B, directions K, A, H, W)
    return torch.cat(found, dim=1).to(particles.dtype)


def neighbour_directions(axes: str) -> list[tuple[int, int]]:
    """Return the steps (x, y) to the adjacent pixels along the axes, row by row."""
    directions = {"x": [(-1, 0), (1, 0)], "y": [(0, -1), (0, 1)]}
    directions["xy"] = [directions["y"][0], *directions["x"], directions["y"][1]]
    if axes not in directions:
        raise ValueError(f"axes must be x, y or xy, got {axes!r}")
    return directions[axes]


def sample_features(
    features: Float[Tensor, "B H1 W1 *D"], x: Num[Tensor, "B N"], y: Num[Tensor, "B N"]
) -> Float[Tensor, "B N *D"]:
    """Return channels-last features at positions in pixels, clamped to the border.

    Integer positions (long) are looked up, float positions interpolated bilinearly. (0, 0) is the
    centre of the top-left pixel. No other function of the search converts coordinates to pixels,
    and nothing is normalised to [-1, 1], so coordinates are exact.
    """
    height, width = features.shape[1:3]
    if not x.is_floating_point():
        image = torch.arange(len(features), device=features.device)[:, None]
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        if features.ndim == 4 and features.is_contiguous():
            # the gradient of an embedding is several times as fast as that of an index
            return F.embedding((image * height + y) * width + x, features.flatten(0, 2))
        return features[image, y, x]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.detach().floor().long(), y.detach().floor().long()
    left, top = left.clamp_max(max(width - 2, 0)), top.clamp_max(max(height - 2, 0))
    shape = (*x.shape, *(1,) * (features.ndim - 3))
    weight_x, weight_y = (x - left).view(shape), (y - top).view(shape)
    upper, lower = (
        torch.lerp(
            sample_features(features, left, row), sample_features(features, left + 1, row), weight_x
        )
        for row in (top, top + 1)
    )
    return torch.lerp(upper, lower, weight_y)


def matching_cost(
    features0: Float[Tensor, "B D H0 W0"],
    features1: Float[Tensor, "B D H1 W1"],
    particles: Num[Tensor, "B K A H W"],
    patch_size: int = 1,
    norm: str = "l2",
) -> Float[Tensor, "B K H W"]:
    """Return the difference between the patch of every pixel and the one each particle points to.

    Args:
        features0: Features of image 0.
        features1: Features of image 1; the size may differ.
        particles: On the grid of whole patches, H = H0 - P + 1.
        patch_size: Side P of the patches that are compared.
        norm: ``l2`` sums squared differences over patch and channels, ``l1`` absolute ones.
    """
    require_norm(norm)
    patches0, patches1 = (
        _channels_last(features, patch_size) for features in (features0, features1)
    )
    displacement = as_displacement(particles)
    count, height, width = particles.shape[1], *particles.shape[-2:]
    x = torch.arange(width, device=particles.device)

    def compare(rows: slice) -> Tensor:
        dx, dy = displacement[..., rows, :].unbind(dim=2)  # each (B, K, h, W)
        y = torch.arange(height, device=particles.device)[rows, None]
        targets = sample_features(patches1, (x + dx).flatten(1), (y + dy).flatten(1))
        own = patches0[:, rows].flatten(1, 2).unsqueeze(1)  # (B, 1, h W, D..)
        difference = targets.unflatten(1, (count, -1)) - own
        difference = difference.square() if norm == "l2" else difference.abs()
        return difference.flatten(3).sum(dim=-1).unflatten(-1, dx.shape[-2:])  # (B, K, h, W)

    if torch.is_grad_enabled() and (features0.requires_grad or features1.requires_grad):
        return compare(slice(None))  # the gradient of each strip would be as large as the image
    # strips fit the cache of a CPU, and bound the memory of a GPU
    at_once = CACHE_VALUES if particles.device.type == "cpu" else 64 * CACHE_VALUES
    strip = max(1, at_once // (width * count * len(patches0) * patches0[0, 0, 0].numel()))
    cost = features0.new_empty(len(particles), count, height, width)
    for top in range(0, height, strip):
        cost[:, :, top : top + strip] = compare(slice(top, top + strip))
    return cost


def _channels_last(features: Tensor, patch_size: int) -> Tensor:
    """Return the patches as vectors, (B, H, W, D), or as views, (B, H, W, D, P, P)."""
    patches = features.permute(0, 2, 3, 1)  # (B, H, W, D)
    if patch_size > 1:
        patches = patches.unfold(1, patch_size, 1).unfold(2, patch_size, 1)  # (B, H, W, D, P, P)
    return patches.flatten(3).contiguous() if patches.numel() <= MAX_COPIED else patches


def duplicate_particles(particles: Num[Tensor, "B K A H W"]) -> Bool[Tensor, "B K H W"]:
    """Return which particles are equal to an earlier one of the same pixel."""
    found = torch.zeros_like(particles[:, :, 0], dtype=torch.bool)
    for i in range(1, particles.shape[1]):
        found[:, i] = _are_equal(particles[:, :i], particles[:, i : i + 1]).any(dim=1)
    return found


def best_particles(
    particles: Num[Tensor, "B M A H W"], cost: Float[Tensor, "B M H W"], k: int
) -> tuple[Num[Tensor, "B K A H W"], Float[Tensor, "B K H W"]]:
    """Return the K different particles of lowest cost, best first; the first of equal costs."""
    kept, costs = [], []
    for rank in range(k):
        lowest, index = cost.min(dim=1, keepdim=True)  # (B, 1, H, W)
        index = index.unsqueeze(2).expand(-1, -1, particles.shape[2], -1, -1)  # (B, 1, A, H, W)
        kept.append(particles.gather(1, index))
        costs.append(lowest)
        if rank + 1 < k:
            cost = cost.masked_fill(_are_equal(particles, kept[-1]), torch.inf)
    return torch.cat(kept, dim=1), torch.cat(costs, dim=1)


def _are_equal(particles: Tensor, others: Tensor) -> Tensor:
    """Compare particles axis by axis: a reduction over two values is slow."""
    equal = particles[:, :, 0] == others[:, :, 0]
    for axis in range(1, particles.shape[2]):
        equal &= particles[:, :, axis] == others[:, :, axis]
    return equal
