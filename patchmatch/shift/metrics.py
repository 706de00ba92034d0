"""Accuracy of predicted shifts, accumulated over batches and processes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


def count_exact_shifts(
    logits: Float[Tensor, "N classes"], shift: Int[Tensor, "N"]
) -> tuple[Tensor, Tensor]:
    """Count the exactly right shifts among the pairs within one pixel.

    The last class is ``larger``. Pairs of that class are not counted. For the other pairs the
    prediction is the likeliest of the nine shifts, whatever the logit of ``larger``.

    Returns:
        The number of exact pairs and the number of pairs within one pixel, long scalars.
    """
    within = shift != logits.shape[1] - 1
    exact = logits[:, :-1].argmax(dim=1) == shift
    return torch.sum(exact & within), torch.sum(within)


class ExactShiftAccuracy(Metric):
    """Share of exactly right shifts among the pairs within one pixel; NaN without such a pair."""

    higher_is_better = True
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.exact: Tensor
        self.total: Tensor
        self.add_state("exact", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, shift: Tensor) -> None:
        """Add a batch, see ``count_exact_shifts``."""
        exact, total = count_exact_shifts(logits, shift)
        self.exact += exact
        self.total += total

    def compute(self) -> Tensor:
        """Return the accuracy over all batches."""
        return self.exact / self.total
