"""How well places are found by embeddings, over the whole of a set and over all processes."""

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from patchmatch.metrics.functional import retrieval_sums


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
