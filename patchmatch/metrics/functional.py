"""Sums that a metric accumulates; they are divided once, at the end."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def exact_shift_sums(
    logits: Float[Tensor, "N classes"], shift: Int[Tensor, "N"]
) -> tuple[Tensor, Tensor]:
    """Count the pairs whose displacement is exactly right, and the pairs that have one.

    The last class is ``larger``. Pairs that belong to it are not counted; an answer of ``larger``
    does not count as a mistake by itself, the likeliest shift beneath it is judged.

    Returns:
        The number of exact pairs and the number of pairs within one pixel, long scalars.
    """
    within = shift != logits.shape[1] - 1
    exact = logits[:, :-1].argmax(dim=1) == shift
    return torch.sum(exact & within), torch.sum(within)
