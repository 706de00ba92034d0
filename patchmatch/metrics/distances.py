"""How well a distance tells pairs that belong together from those that do not."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from patchmatch.metrics.functional import false_positive_rate

BINS = 4000  # of the distances between vectors of length one, from 0 to 2


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
