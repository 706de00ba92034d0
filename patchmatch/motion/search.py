"""Exhaustive block search on the coarsest pyramid level."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def cost_volume(
    features0: Float[Tensor, "B 1 H W"],
    features1: Float[Tensor, "B 1 H W"],
    block: int,
    radius: int,
    clip: float = 1.0,
    shape: torch.Size | None = None,
) -> Float[Tensor, "B D rows columns"]:
    """Return the mean absolute difference of every block under every integer displacement.

    Args:
        features0: The image with the blocks.
        features1: The image that is searched.
        block: Side of a block in pixels.
        radius: Largest displacement in x and in y; D = (2 radius + 1)^2, row by row.
        clip: Upper limit of a difference, so that occluded pixels do not decide.
        shape: (B, rows, columns), the grid of blocks, whose last ones end at the border; None for
            all whole blocks.
    """
    height, width = features0.shape[-2:]
    padded = F.pad(features1, (radius,) * 4, mode="replicate")
    span = range(2 * radius + 1)
    moved = torch.cat(
        [padded[..., dy : dy + height, dx : dx + width] for dy in span for dx in span], dim=1
    )
    cost = (moved - features0).abs().clamp_max(clip)
    if shape is not None:
        for dim, count, length in ((-2, shape[1], height), (-1, shape[2], width)):
            starts = (torch.arange(count, device=cost.device) * block).clamp_max(length - block)
            pixels = starts[:, None] + torch.arange(block, device=cost.device)
            cost = cost.index_select(dim, pixels.flatten())
    return F.avg_pool2d(cost, block)


def best_candidates(
    volume: Float[Tensor, "B D rows columns"],
    count: int,
    zero_motion_credit: Float[Tensor, "B rows columns"] | None = None,
) -> Float[Tensor, "N count 2"]:
    """Return the deepest local minima of the costs of each block, with subpixel precision.

    The costs are averaged with the mean of those of the 3x3 blocks around: a small block alone is
    ambiguous. A parabola through a minimum and its neighbours locates it between pixels.

    Args:
        volume: Costs from ``cost_volume``.
        count: Number of minima.
        zero_motion_credit: Subtracted from the cost of zero motion.

    Returns:
        Displacements dx, dy in pixels of the images, the best first.
    """
    batch, displacements, rows, columns = volume.shape
    if zero_motion_credit is not None:
        is_zero = torch.arange(displacements, device=volume.device) == displacements // 2
        volume = volume - is_zero[:, None, None] * zero_motion_credit[:, None]
    blocks, span = batch * rows * columns, round(displacements**0.5)
    padded = F.pad(volume, (1, 1, 1, 1), mode="replicate")
    cost = ((volume + F.avg_pool2d(padded, 3, 1)) / 2).movedim(1, -1)  # (B, rows, columns, D)
    square = cost.reshape(blocks, 1, span, span)
    lowest = -F.max_pool2d(-square, 3, 1, 1)
    # Among equal costs the shortest displacement is first.
    axis = torch.arange(span, device=volume.device) - span // 2
    length = (axis[:, None] ** 2 + axis**2).sqrt()
    ranked = (torch.where(square <= lowest, square, square + 10) + 1e-4 * length).flatten(1)
    best = ranked.topk(count, dim=1, largest=False).indices  # (N, K)
    y, x = best // span, best % span
    rim = F.pad(square, (1, 1, 1, 1), mode="replicate").flatten(1)
    centre = (y + 1) * (span + 2) + x + 1
    middle = rim.gather(1, centre)

    def vertex(step: int) -> Tensor:
        before, after = rim.gather(1, centre - step), rim.gather(1, centre + step)
        bend = (before + after - 2 * middle).clamp_min(1e-3)
        return ((before - after) / (2 * bend)).clamp(-0.5, 0.5)

    radius = span // 2
    return torch.stack([x - radius + vertex(1), y - radius + vertex(span + 2)], dim=-1)
