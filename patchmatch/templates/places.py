"""Places seen from several views: what a batch of them holds, and how batches are put together."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, default_collate

from patchmatch.core.samplers import ShardSampler, identity_collate

#: Of a view: the epoch, the number of its place within the set, and which view of it.
Key = tuple[int, int, int]


class PlaceBatch(TypedDict):
    """Views of places; in training P places with K views each, those of a place in a row."""

    image: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    place: Tensor  #: (B,) long: the number of the place
    view: Tensor  #: (B,) long: from where it is seen
    query: Tensor  #: (B,) bool: whether it is sought among the others, which are the gallery
    homography: Tensor  #: (B, 3, 3) float32, from the place to its view; NaN where not known


class PlaceBatches(DistributedSampler[Any]):
    """Put P places with K views each into every batch; no place is in two batches of a round.

    Lightning leaves a DistributedSampler as it is and tells it the epoch. The order depends on the
    seed and the epoch alone; of several processes, each gets batches of its own.

    Args:
        count: Number of places.
        places: P, places in a batch.
        views: K, views of each.
        batches: Batches of an epoch, of all processes together; as many rounds as they take.
        seed: Seed of the order.
        rank: Number of the process.
        processes: How many there are.
    """

    def __init__(
        self,
        count: int,
        places: int,
        views: int,
        batches: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__(range(count), processes, rank)  # type: ignore[arg-type]
        self.count, self.places, self.views, self.seed = count, places, views, seed
        self.batches = max(1, batches // processes)  # of each process, for they keep step

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        in_round = self.count // self.places
        order = np.arange(0)
        for i in range(self.batches * self.num_replicas):
            if i % in_round == 0:
                order = rng.permutation(self.count)
            if i % self.num_replicas == self.rank:
                first = i % in_round * self.places
                chosen = order[first : first + self.places].tolist()
                yield [(self.epoch, place, view) for place in chosen for view in range(self.views)]


class PlaceSet(Dataset[Any], abc.ABC):
    """Base of data sets of places: an item is a whole batch, named by the keys of its views."""

    def __getitem__(self, keys: Sequence[Any]) -> PlaceBatch:
        return default_collate([self.view(key) for key in keys])

    @abc.abstractmethod
    def view(self, key: Any) -> dict[str, Any]:
        """Return one view, with what a ``PlaceBatch`` has of each."""


def require_batches(places: int, views: int) -> None:
    """Raise ValueError unless a batch of P places with K views has both kinds of pairs."""
    if places < 2 or views < 2:
        raise ValueError(
            f"places and views must be at least 2, to be compared, got {places} and {views}"
        )


def require_views(side: int, light: float) -> None:
    """Raise ValueError unless views can have such a side and such a share of disturbed ones."""
    if side < 32 or side % 8:
        raise ValueError(f"side must be a multiple of 8, at least 32 pixels, got {side}")
    if not 0 <= light <= 1:
        raise ValueError(f"light must lie between 0 and 1, got {light}")


def in_batches(keys: Sequence[Any], size: int) -> list[list[Any]]:
    """Return keys in their order, ``size`` in a batch, the last one with what is left."""
    return [list(keys[i : i + size]) for i in range(0, len(keys), size)]


def place_loader(
    data: PlaceSet, sampler: DistributedSampler[Any], num_workers: int
) -> DataLoader[Any]:
    """Return a loader of batches; the sampler says which views are in each."""
    return DataLoader(
        data,
        batch_size=None,  # an item is a batch
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=identity_collate,
        pin_memory=torch.cuda.is_available(),
    )


def each_view_once(
    data: PlaceSet, keys: Sequence[Any], size: int, process: tuple[int, int], num_workers: int
) -> DataLoader[Any]:
    """Return a loader of views in their order, in batches that the processes share.

    Args:
        data: The views.
        keys: Which of them.
        size: Views in a batch.
        process: Number of this process, and how many share the run.
        num_workers: Processes that make or read views.
    """
    return place_loader(data, ShardSampler(in_batches(keys, size), *process), num_workers)
