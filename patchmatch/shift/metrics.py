"""A share of pairs that fulfil something, over all batches and processes."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


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


class Share(Metric):
    """Sum of numerators over sum of denominators.

    Args:
        sums: Function of a batch's logits and targets that returns both sums.
    """

    higher_is_better = True
    full_state_update = False

    def __init__(self, sums: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.sums = sums
        self.hits: Tensor
        self.total: Tensor
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch."""
        hits, total = self.sums(logits, target)
        self.hits += hits
        self.total += total

    def compute(self) -> Tensor:
        """Return the share, NaN before the first pair."""
        return self.hits / self.total
