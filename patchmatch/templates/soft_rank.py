"""Differentiable ranks: exact for few values, from a histogram for many."""

import torch
from jaxtyping import Float
from torch import Tensor

NUM_BINS = 512  # bins of cosines, with centres from -1 to 1


def soft_rank(values: Float[Tensor, "B N"], temperature: float) -> Float[Tensor, "B N"]:
    """Return the differentiable rank of every value in its row; the highest value has rank 1.

    The rank of a value is 1 plus the sum of ``sigmoid((other - value) / temperature)`` over all
    other values of the row. Equal values count half.

    Args:
        values: Rows of values.
        temperature: Scale of the differences; much larger differences count as 0 or 1.
    """
    higher = (values[:, None, :] - values[:, :, None]) / temperature  # (B, N, N)
    return higher.sigmoid().sum(dim=-1) + 0.5  # the value itself contributes the other half


def soft_histogram(cosine: Float[Tensor, "R N"]) -> Float[Tensor, "R bins"]:
    """Count the cosines of every row, each split linearly between the two nearest bins."""
    low, weight = _bin_below(cosine)
    counts = cosine.new_zeros(len(cosine), NUM_BINS).scatter_add_(1, low, 1 - weight)
    return counts.scatter_add_(1, low + 1, weight)


def rank_table(counts: Float[Tensor, "R bins"], temperature: float) -> Float[Tensor, "R bins"]:
    """Return the soft rank of a cosine at the centre of every bin of a histogram."""
    centres = torch.linspace(-1, 1, NUM_BINS, device=counts.device, dtype=counts.dtype)
    higher = ((centres[:, None] - centres) / temperature).sigmoid()  # (bins, bins)
    return (counts @ higher + 0.5).clamp_min(1)


def interpolate_table(table: Float[Tensor, "R bins"], cosine: Float[Tensor, "R N"]) -> Tensor:
    """Interpolate the table of every row linearly at its cosines, (R, N)."""
    low, weight = _bin_below(cosine)
    return table.gather(1, low) * (1 - weight) + table.gather(1, low + 1) * weight


def _bin_below(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin below each cosine, and the linear weight of the next bin."""
    position = (cosine.clamp(-1, 1) + 1) * ((NUM_BINS - 1) / 2)
    low = position.long().clamp_max(NUM_BINS - 2)
    return low, position - low
