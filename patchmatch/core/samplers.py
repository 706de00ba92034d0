"""How the processes of a run share what is to be predicted."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DistributedSampler


class ShardSampler(DistributedSampler[Any]):
    """Deals indices, or batches of them, out in turn, each to one process.

    Lightning leaves a DistributedSampler as it is. Its own one does not repeat an index either,
    but refuses to run where there are more processes than indices.

    Args:
        indices: What is left to predict, in order.
        rank: Number of the process.
        processes: How many there are.
    """

    def __init__(self, indices: Sequence[Any], rank: int, processes: int) -> None:
        super().__init__(indices, processes, rank, shuffle=False)  # type: ignore[arg-type]
        self._mine = indices[rank::processes]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mine)

    def __len__(self) -> int:
        return len(self._mine)


def identity_collate(batch: Any) -> Any:
    """Collate nothing: what the data set gives is a batch, its numpy arrays included."""
    return batch
