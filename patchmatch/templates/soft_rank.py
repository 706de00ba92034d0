"""Soft ranks: exact ones, and those read from a histogram where values are many."""

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 512  # of cosines, from -1 to 1


def soft_rank(values: Float[Tensor, "B N"], temperature: float) -> Float[Tensor, "B N"]:
    """Return the rank of every value in its row, 1 for the highest, differentiable.

    A value's rank is 1 plus the number of others that are higher, counted by a logistic function
    of the difference over ``temperature``: half for equals.

    Args:
        values: Rows of values.
        temperature: Differences much larger than this count fully.
    """
    higher = (values[:, None, :] - values[:, :, None]) / temperature  # (B, N, N)
    return higher.sigmoid().sum(dim=-1) + 0.5  # of which half is the value itself


def histogram(cosine: Float[Tensor, "R N"]) -> Float[Tensor, "R bins"]:
    """Count the cosines of every row, each shared by the two bins beside it."""
    low, share = _bin(cosine)
    counts = cosine.new_zeros(len(cosine), BINS).scatter_add_(1, low, 1 - share)
    return counts.scatter_add_(1, low + 1, share)


def rank_table(counts: Float[Tensor, "R bins"], temperature: float) -> Float[Tensor, "R bins"]:
    """Return the soft rank of a cosine at the centre of every bin."""
    centres = torch.linspace(-1, 1, BINS, device=counts.device, dtype=counts.dtype)
    higher = ((centres[:, None] - centres) / temperature).sigmoid()  # (bins, asked)
    return (counts @ higher + 0.5).clamp_min(1)


def look_up(table: Float[Tensor, "R bins"], cosine: Float[Tensor, "R N"]) -> Tensor:
    """Read a table of every row between the centres of its bins."""
    low, share = _bin(cosine)
    return table.gather(1, low) * (1 - share) + table.gather(1, low + 1) * share


def _bin(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin below each cosine, and how far it lies on the way to the next one."""
    place = (cosine.clamp(-1, 1) + 1) * ((BINS - 1) / 2)
    low = place.long().clamp_max(BINS - 2)
    return low, place - low
