"""Distribution of batches over processes."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DistributedSampler


class ShardSampler(DistributedSampler[Any]):
    """Distribute indices, or batches of indices, round-robin over processes, without repetition.

    It is a DistributedSampler, because Lightning does not replace one. The sampler of Lightning
    does not repeat indices either, but raises an error with more processes than indices.

    Args:
        indices: Indices of all processes, in order.
        rank: Rank of this process.
        processes: Number of processes.
    """

    def __init__(self, indices: Sequence[Any], rank: int, processes: int) -> None:
        super().__init__(indices, processes, rank, shuffle=False)  # type: ignore[arg-type]
        self._own = indices[rank::processes]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


def identity_collate(batch: Any) -> Any:
    """Return an item of the dataset unchanged: it already is a batch."""
    return batch
