"""How well places are found by embeddings, over the whole of a set and over all processes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

_SIMILARITIES = 2**22  # of queries with the gallery, computed at once


def retrieval_sums(
    query: Float[Tensor, "Q D"],
    query_place: Int[Tensor, " Q"],
    gallery: Float[Tensor, "G D"],
    gallery_place: Int[Tensor, " G"],
    ranks: Sequence[int] = (1, 5, 10),
) -> tuple[Float[Tensor, " ranks"], Tensor, Tensor]:
    """Count the queries whose place is among the nearest of the gallery, and sum their precision.

    Of equal similarities the wrong places come first, so that embeddings which are all the same
    find nothing. Queries whose place is not in the gallery are not counted.

    Args:
        query: Embeddings of length 1.
        query_place: The place of each.
        gallery: Embeddings of length 1, none of them a query.
        gallery_place: The place of each.
        ranks: Of the gallery, how many of the nearest may hold the place.

    Returns:
        The number of queries with a hit for each rank; the sum of their average precision, which
        is the mean precision at the ranks of all views of the place; the number of queries.
    """
    hits = query.new_zeros(len(ranks), dtype=torch.float64)
    precision, count = hits.new_zeros(()), hits.new_zeros(())
    step = max(1, _SIMILARITIES // max(1, len(gallery)))
    positions = torch.arange(1, len(gallery) + 1, device=query.device)
    for start in range(0, len(query) if len(gallery) else 0, step):
        right = query_place[start : start + step, None] == gallery_place  # (q, G)
        asked = right.any(dim=1)
        right, similarity = right[asked], query[start : start + step][asked] @ gallery.T
        wrong_first = right.byte().argsort(dim=1, stable=True)
        order = similarity.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True)
        right = right.gather(1, wrong_first.gather(1, order))  # the nearest first
        for i, rank in enumerate(ranks):
            hits[i] += right[:, :rank].any(dim=1).sum()
        at_right = right.cumsum(dim=1) / positions * right
        precision += (at_right.sum(dim=1, dtype=torch.float64) / right.sum(dim=1)).sum()
        count += asked.sum()
    return hits, precision, count


class Retrieval(Metric):
    """Recall and average precision of queries in a gallery; a view is one of the two, never both.

    Args:
        ranks: Of the gallery, how many of the nearest may hold the place.
    """

    higher_is_better = True
    full_state_update = False

    def __init__(self, ranks: tuple[int, ...] = (1, 5, 10)) -> None:
        super().__init__()
        self.ranks = ranks
        self.embedding: list[Tensor]
        self.place: list[Tensor]
        self.query: list[Tensor]
        for name in ("embedding", "place", "query"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, embedding: Tensor, place: Tensor, query: Tensor) -> None:
        """Add a batch.

        Args:
            embedding: (B, D), of length 1.
            place: (B,) long.
            query: (B,) bool, whether it is sought; the others are the gallery.
        """
        self.embedding.append(embedding.detach())
        self.place.append(place)
        self.query.append(query)

    def compute(self) -> dict[str, Tensor]:
        """Return ``recall_1`` and so on, and ``ap``; NaN where no query has its place there."""
        embedding, place = dim_zero_cat(self.embedding), dim_zero_cat(self.place)
        query = dim_zero_cat(self.query).bool()
        hits, precision, count = retrieval_sums(
            embedding[query], place[query], embedding[~query], place[~query], self.ranks
        )
        shares = {f"recall_{rank}": hits[i] / count for i, rank in enumerate(self.ranks)}
        return {name: value.float() for name, value in (shares | {"ap": precision / count}).items()}
