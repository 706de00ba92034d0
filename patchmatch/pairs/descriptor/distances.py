"""How well a distance tells pairs that belong together from those that do not."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

BINS = 4000  # of the distances between vectors of length one, from 0 to 2


def false_positive_rate(
    right: Float[Tensor, "bins"], wrong: Float[Tensor, "bins"], recall: float
) -> Float[Tensor, ""]:
    """Return which share of wrong pairs is nearer than what takes a share of the right ones.

    Args:
        right: How many right pairs have a distance in each bin, the nearest first.
        wrong: How many wrong ones have.
        recall: Share of the right pairs to be taken, 0.95 in the field.

    Returns:
        In [0, 1]; NaN where there is no right or no wrong pair.
    """
    taken = right.cumsum(dim=0) / right.sum()
    last = int((taken < recall).sum())  # the bin that holds the last right pair to be taken
    if not torch.isfinite(taken).all():
        return right.new_full((), torch.nan)
    return wrong[: last + 1].sum() / wrong.sum()


class FalsePositiveRate(Metric):
    """Share of wrong pairs among those that must be taken to take a share of the right ones.

    Args:
        recall: Share of the right pairs that are taken.
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, recall: float = 0.95) -> None:
        super().__init__()
        self.recall = recall
        self.right: Tensor
        self.wrong: Tensor
        for name in ("right", "wrong"):
            self.add_state(name, torch.zeros(BINS, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, distance: Float[Tensor, "N"], belongs: Bool[Tensor, "N"]) -> None:
        """Add pairs.

        Args:
            distance: In [0, 2].
            belongs: Which pairs are right.
        """
        for name, chosen in (("right", belongs), ("wrong", ~belongs)):
            counts = torch.histc(distance[chosen].float(), BINS, 0, 2)
            setattr(self, name, getattr(self, name) + counts.to(self.right))

    def compute(self) -> Tensor:
        """Return the rate, NaN before the first pair of either kind."""
        return false_positive_rate(self.right, self.wrong, self.recall).float()
