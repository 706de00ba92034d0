"""A share of pairs that fulfil something, over all batches and processes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric


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
