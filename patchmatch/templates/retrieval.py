"""Metrics of image retrieval: recall at k and average precision."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

_MAX_SIMILARITIES = 2**22  # similarities computed at once, to limit memory


def retrieval_sums(
    query: Float[Tensor, "Q D"],
    query_place: Int[Tensor, " Q"],
    gallery: Float[Tensor, "G D"],
    gallery_place: Int[Tensor, " G"],
    ranks: Sequence[int] = (1, 5, 10),
) -> tuple[Float[Tensor, " ranks"], Tensor, Tensor]:
    """Return the sums from which recall and mean average precision are computed.

    Among equal similarities the wrong places rank first, so that constant embeddings score 0.
    Queries without their place in the gallery are ignored.

    Args:
        query: Embeddings of length 1.
        query_place: Place of each query.
        gallery: Embeddings of length 1, disjoint from the queries.
        gallery_place: Place of each embedding.
        ranks: Values of k: a query is a hit if its place is among the k nearest embeddings.

    Returns:
        Number of hits for each rank; sum of the average precision over the queries, where the
        average precision is the mean precision at the ranks of all views of the place; number of
        queries.
    """
    hits = query.new_zeros(len(ranks), dtype=torch.float64)
    precision, count = hits.new_zeros(()), hits.new_zeros(())
    step = max(1, _MAX_SIMILARITIES // max(1, len(gallery)))
    positions = torch.arange(1, len(gallery) + 1, device=query.device)
    for start in range(0, len(query) if len(gallery) else 0, step):
        right = query_place[start : start + step, None] == gallery_place  # (q, G)
        counted = right.any(dim=1)
        right = right[counted]
        similarity = query[start : start + step][counted] @ gallery.T
        wrong_first = right.byte().argsort(dim=1, stable=True)
        order = similarity.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True)
        right = right.gather(1, wrong_first.gather(1, order))  # by rank
        for i, rank in enumerate(ranks):
            hits[i] += right[:, :rank].any(dim=1).sum()
        at_right = right.cumsum(dim=1) / positions * right
        precision += (at_right.sum(dim=1, dtype=torch.float64) / right.sum(dim=1)).sum()
        count += counted.sum()
    return hits, precision, count


class Retrieval(Metric):
    """Recall at k and mean average precision of queries in a gallery.

    Args:
        ranks: Values of k.
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
            place: (B,) long, number of the place.
            query: (B,) bool, True for queries, False for the gallery.
        """
        self.embedding.append(embedding.detach())
        self.place.append(place)
        self.query.append(query)

    def compute(self) -> dict[str, Tensor]:
        """Return ``recall_1`` etc. and ``ap``; NaN if no query has its place in the gallery."""
        embedding, place = dim_zero_cat(self.embedding), dim_zero_cat(self.place)
        query = dim_zero_cat(self.query).bool()
        hits, precision, count = retrieval_sums(
            embedding[query], place[query], embedding[~query], place[~query], self.ranks
        )
        shares = {f"recall_{rank}": hits[i] / count for i, rank in enumerate(self.ranks)}
        return {name: value.float() for name, value in (shares | {"ap": precision / count}).items()}
