"""Particles: several offsets a pixel, the guesses of a correspondence search.

A particle is a displacement (dx, dy), two axes, or a disparity d, one axis, which stands for the
displacement (-d, 0). Whole ones are long tensors and real ones float; functions here take both.
Particles are ``(B, K, A, H, W)``: K guesses on the grid of image 0.

With patches of P x P pixels both grids are those of whole patches, P - 1 pixels smaller than the
feature maps. An offset is the same on either.
"""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 2**18  # numbers of features that are compared at a time: they stay in the cache
COPIED = 2**26  # numbers: patches are copied out, three times as fast to read, if no more
BLOCKED = torch.finfo(torch.float32).max  # cost of a place that must not be matched


def as_displacement(particles: Num[Tensor, "B K A H W"]) -> Num[Tensor, "B K 2 H W"]:
    """Return dx and dy of particles: a disparity d moves to the left, by (-d, 0)."""
    if particles.shape[2] == 2:
        return particles
    return torch.cat([-particles, torch.zeros_like(particles)], dim=2)


def search_range(
    size0: tuple[int, int],
    size1: tuple[int, int],
    axes: int,
    reach: int | None,
    device: torch.device,
) -> tuple[Int[Tensor, "1 A H W"], Int[Tensor, "1 A H W"]]:
    """Return the lowest and the highest offset of every pixel that lands inside image 1.

    Args:
        size0: Height and width of the grid of image 0.
        size1: Height and width of the grid of image 1.
        axes: 2 for displacements, 1 for disparities, which are 0 or more.
        reach: No component is longer, in pixels; None for all of image 1. Where nothing of image 1
            is as near as that, the nearest of it.
        device: Where the answer lies.
    """
    (height0, width0), (height1, width1) = size0, size1
    x = torch.arange(width0, device=device).expand(height0, width0)
    y = torch.arange(height0, device=device)[:, None].expand(height0, width0)
    if axes == 1:
        low, high = (x - (width1 - 1)).clamp_min(0)[None, None], x[None, None]
        return low, high if reach is None else torch.maximum(high.clamp_max(reach), low)
    low = torch.stack([-x, -y])[None]
    high = torch.stack([width1 - 1 - x, height1 - 1 - y])[None]
    if reach is None:
        return low, high
    return torch.minimum(low.clamp_min(-reach), high), torch.maximum(high.clamp_max(reach), low)


def stratified(
    low: Num[Tensor, "#B A #H #W"],
    high: Num[Tensor, "#B A #H #W"],
    part: Int[Tensor, "#B K A #H #W"],
    place: Float[Tensor, "#B K A #H #W"],
) -> Num[Tensor, "B K A H W"]:
    """Draw K particles a pixel, one from each of K equal parts of the range of every axis.

    Args:
        low: The lowest offset; long for whole particles, float for real ones.
        high: The highest offset.
        part: An order of 0 to K - 1: which part of one axis goes with which of another.
        place: Where in its part a particle lies, uniform in [0, 1).
    """
    count = part.shape[1]
    low, high = low.unsqueeze(1), high.unsqueeze(1)
    if low.is_floating_point():
        return low + (high - low) * (part + place) / count
    span = high - low + 1
    first, last = span * part // count, span * (part + 1) // count
    inside = (place * (last - first)).long()
    return torch.minimum(low + first + torch.minimum(inside, (last - first - 1).clamp_min(0)), high)


def propagate(
    particles: Num[Tensor, "B K A H W"], steps: tuple[int, ...] = (1,), axes: str = "xy"
) -> Num[Tensor, "B M A H W"]:
    """Return the particles of every pixel and those of its neighbours; beyond the border its own.

    Args:
        particles: K particles.
        steps: Distances of the neighbours in pixels.
        axes: ``x`` for the neighbours left and right, ``y`` for those above and below, ``xy``.

    Returns:
        M = K (1 + 2 len(axes) len(steps)) particles: the pixel's own, then for each step those
        from above, the left, the right and below.
    """
    height, width = particles.shape[-2:]
    found = [particles]
    for step in steps:
        padded = F.pad(particles.flatten(1, 2), (step,) * 4, mode="replicate")
        padded = padded.unflatten(1, particles.shape[1:3])
        for x, y in neighbour_places(axes):
            top, left = step * (1 + y), step * (1 + x)
            found.append(padded[..., top : top + height, left : left + width])
    return torch.cat(found, dim=1)


def propagate_by_convolution(
    particles: Num[Tensor, "B K A H W"], steps: tuple[int, ...] = (1,), axes: str = "xy"
) -> Num[Tensor, "B M A H W"]:
    """Return the same as ``propagate``, by convolution with one-hot filters, as in the paper.

    Slower; exact for whole offsets below 2^24.
    """
    batch, count, components, height, width = particles.shape
    places = [(0, 0), *neighbour_places(axes)]
    filters = torch.zeros(len(places), 1, 3, 3, device=particles.device)
    for i, (x, y) in enumerate(places):
        filters[i, 0, 1 + y, 1 + x] = 1
    values = particles if particles.is_floating_point() else particles.float()
    values, found = values.flatten(0, 2)[:, None], []
    for i, step in enumerate(steps):
        padded = F.pad(values, (step,) * 4, mode="replicate")
        moved = F.conv2d(padded, filters[min(i, 1) :].to(values.dtype), dilation=step)
        moved = moved.view(batch, count, components, -1, height, width)
        found.append(moved.permute(0, 3, 1, 2, 4, 5).flatten(1, 2))  # (B, places K, A, H, W)
    return torch.cat(found, dim=1).to(particles.dtype)


def neighbour_places(axes: str) -> list[tuple[int, int]]:
    """Return x and y of the neighbours along the axes, row by row."""
    places = {"x": [(-1, 0), (1, 0)], "y": [(0, -1), (0, 1)]}
    places["xy"] = [places["y"][0], *places["x"], places["y"][1]]
    if axes not in places:
        raise ValueError(f"axes must be x, y or xy, got {axes!r}")
    return places[axes]


def sample_rows(
    rows: Float[Tensor, "B H1 W1 *D"],
    x: Num[Tensor, "B N"],
    y: Num[Tensor, "B N"],
) -> Float[Tensor, "B N *D"]:
    """Return what lies at places in pixels, (0, 0) the centre of the top-left one.

    Whole places (long) are read as they are; between pixels (float) four are blended. A place
    beyond the border is moved to it. This is the one place where the search turns coordinates
    into pixels: nothing is normalised, so nothing can drift.
    """
    height, width = rows.shape[1:3]
    if not x.is_floating_point():
        image = torch.arange(len(rows), device=rows.device)[:, None]
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        if rows.ndim == 4 and rows.is_contiguous():
            # the gradient of a table of rows is several times faster than that of an index
            return F.embedding((image * height + y) * width + x, rows.flatten(0, 2))
        return rows[image, y, x]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.detach().floor().long(), y.detach().floor().long()
    left, top = left.clamp_max(max(width - 2, 0)), top.clamp_max(max(height - 2, 0))
    shape = (*x.shape, *(1,) * (rows.ndim - 3))
    across, down = (x - left).view(shape), (y - top).view(shape)
    upper, lower = (
        torch.lerp(sample_rows(rows, left, row), sample_rows(rows, left + 1, row), across)
        for row in (top, top + 1)
    )
    return torch.lerp(upper, lower, down)


def matching_cost(
    features0: Float[Tensor, "B D H0 W0"],
    features1: Float[Tensor, "B D H1 W1"],
    particles: Num[Tensor, "B K A H W"],
    patch_size: int = 1,
    norm: str = "l2",
) -> Float[Tensor, "B K H W"]:
    """Return how much the patch of every pixel differs from the one where each particle points.

    Args:
        features0: The image whose pixels are sought.
        features1: The image in which they are sought; its size may be another.
        particles: On the grid of whole patches, H = H0 - P + 1.
        patch_size: Side P of the patches that are compared.
        norm: ``l2`` sums squared differences over patch and channels, ``l1`` absolute ones.
    """
    if norm not in ("l2", "l1"):
        raise ValueError(f"norm must be l2 or l1, got {norm!r}")
    rows0, rows1 = (_rows(features, patch_size) for features in (features0, features1))
    displacement = as_displacement(particles)
    count, height, width = particles.shape[1], *particles.shape[-2:]
    x = torch.arange(width, device=particles.device)

    def compare(rows: slice) -> Tensor:
        part = displacement[..., rows, :]  # (B, K, 2, h, W)
        y = torch.arange(height, device=particles.device)[rows, None]
        there = sample_rows(rows1, (x + part[:, :, 0]).flatten(1), (y + part[:, :, 1]).flatten(1))
        here = rows0[:, rows].flatten(1, 2).unsqueeze(1)  # (B, 1, h W, D..)
        apart = there.unflatten(1, (count, -1)) - here
        apart = apart.square() if norm == "l2" else apart.abs()
        return apart.flatten(3).sum(dim=-1).unflatten(-1, part.shape[-2:])

    if torch.is_grad_enabled() and (features0.requires_grad or features1.requires_grad):
        return compare(slice(None))  # the gradient of each strip would be as large as the image
    strip = max(1, AT_ONCE // (width * count * len(rows0) * rows0[0, 0, 0].numel()))
    cost = features0.new_empty(len(particles), count, height, width)
    for top in range(0, height, strip):
        cost[:, :, top : top + strip] = compare(slice(top, top + strip))
    return cost


def _rows(features: Tensor, patch_size: int) -> Tensor:
    """Return the patches in rows, (B, H, W, D), or views of them, (B, H, W, D, P, P)."""
    rows = features.permute(0, 2, 3, 1)
    if patch_size > 1:
        rows = rows.unfold(1, patch_size, 1).unfold(2, patch_size, 1)
    return rows.flatten(3).contiguous() if rows.numel() <= COPIED else rows


def repeated(particles: Num[Tensor, "B K A H W"]) -> Tensor:
    """Tell which particles stand earlier in the list already, (B, K, H, W) bool."""
    found = torch.zeros_like(particles[:, :, 0], dtype=torch.bool)
    for i in range(1, particles.shape[1]):
        found[:, i] = _equal(particles[:, :i], particles[:, i : i + 1]).any(dim=1)
    return found


def best_particles(
    particles: Num[Tensor, "B M A H W"], cost: Float[Tensor, "B M H W"], count: int
) -> tuple[Num[Tensor, "B K A H W"], Float[Tensor, "B K H W"]]:
    """Return the K particles of least cost, all different, best first; of equal ones the first."""
    kept, costs = [], []
    for rank in range(count):
        least, place = cost.min(dim=1, keepdim=True)
        index = place.unsqueeze(2).expand(-1, -1, particles.shape[2], -1, -1)
        kept.append(particles.gather(1, index))
        costs.append(least)
        if rank + 1 < count:
            cost = cost.masked_fill(_equal(particles, kept[-1]), torch.inf)
    return torch.cat(kept, dim=1), torch.cat(costs, dim=1)


def _equal(particles: Tensor, others: Tensor) -> Tensor:
    """Tell which particles are the same, axis by axis: a reduction over two is slow."""
    same = particles[:, :, 0] == others[:, :, 0]
    for axis in range(1, particles.shape[2]):
        same &= particles[:, :, axis] == others[:, :, axis]
    return same
