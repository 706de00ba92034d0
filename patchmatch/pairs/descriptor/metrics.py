"""Metrics of descriptor matching: nearest-neighbour accuracy, false positive rate at a recall."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

BINS = 4000  # of the histogram of distances in [0, 2]


def nearest_neighbour_accuracy(
    distance: Float[Tensor, "N N"], same_blob: Bool[Tensor, "N N"]
) -> Float[Tensor, ""]:
    """Return the share of descriptors that are nearer to their match than to any negative.

    Args:
        distance: Between descriptors of image 0 and image 1; matches are on the diagonal.
        same_blob: Pairs that show the same blob; the others are negatives.
    """
    negatives = distance.masked_fill(same_blob, torch.inf)
    return (distance.diagonal() < negatives.amin(dim=1)).float().mean()


def false_positive_rate(
    positives: Float[Tensor, "bins"], negatives: Float[Tensor, "bins"], recall: float
) -> Float[Tensor, ""]:
    """Return the share of negatives below the distance that reaches a recall.

    Args:
        positives: Histogram of the distances of matching pairs, ascending.
        negatives: Histogram of the distances of other pairs.
        recall: Share of the positives to accept, usually 0.95 (FPR95).

    Returns:
        In [0, 1]; NaN without positives or without negatives.
    """
    accepted = positives.cumsum(dim=0) / positives.sum()
    last = int((accepted < recall).sum())  # the bin in which the recall is reached
    if not torch.isfinite(accepted).all():
        return positives.new_full((), torch.nan)
    return negatives[: last + 1].sum() / negatives.sum()


class FalsePositiveRate(Metric):
    """False positive rate of a distance at a recall, for distances in [0, 2].

    Args:
        recall: Share of the positives to accept.
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, recall: float = 0.95) -> None:
        super().__init__()
        self.recall = recall
        self.positives: Tensor
        self.negatives: Tensor
        for name in ("positives", "negatives"):
            self.add_state(name, torch.zeros(BINS, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, distance: Float[Tensor, "N"], is_match: Bool[Tensor, "N"]) -> None:
        """Add pairs.

        Args:
            distance: In [0, 2].
            is_match: True for matching pairs.
        """
        self.positives += self._histogram(distance[is_match])
        self.negatives += self._histogram(distance[~is_match])

    def _histogram(self, distance: Tensor) -> Tensor:
        return torch.histc(distance.float(), BINS, 0, 2).to(self.positives)

    def compute(self) -> Tensor:
        """Return the rate; NaN before the first pair of either kind."""
        return false_positive_rate(self.positives, self.negatives, self.recall).float()
