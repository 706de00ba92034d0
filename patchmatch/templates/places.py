"""Batches, samplers and loaders of views of places, for training by retrieval."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, default_collate

from patchmatch.core.samplers import ShardSampler, identity_collate

#: Epoch, number of the place in the data set, and number of the view.
ViewKey = tuple[int, int, int]


class PlaceBatch(TypedDict):
    """Views of places; in training, P places with K consecutive views each."""

    image: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    place: Tensor  #: (B,) long: number of the place
    view: Tensor  #: (B,) long: number or kind of the view
    query: Tensor  #: (B,) bool: True for queries, False for the gallery
    homography: Tensor  #: (B, 3, 3) float32, from the place to its view; NaN if unknown


class PlaceBatchSampler(DistributedSampler[Any]):
    """Sample batches of P places with K views each.

    Places are drawn in rounds without replacement. The order depends on the seed and the epoch
    only, which Lightning sets. Several processes get different batches.

    Args:
        count: Number of places.
        places: P, places in a batch.
        views: K, views of each place.
        batches: Batches in an epoch, of all processes together.
        seed: Seed of the order.
        rank: Index of this process.
        processes: Number of processes.
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
        self.batches = max(1, batches // processes)  # the same number in each process

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[ViewKey]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        per_round = self.count // self.places
        order = np.arange(0)
        for i in range(self.batches * self.num_replicas):
            if i % per_round == 0:
                order = rng.permutation(self.count)
            if i % self.num_replicas == self.rank:
                first = i % per_round * self.places
                chosen = order[first : first + self.places].tolist()
                yield [(self.epoch, place, view) for place in chosen for view in range(self.views)]


class PlaceDataset(Dataset[Any], abc.ABC):
    """Base of data sets of places. An item is a whole batch, selected by the keys of its views."""

    def __getitem__(self, keys: Sequence[Any]) -> PlaceBatch:
        return default_collate([self.view(key) for key in keys])

    @abc.abstractmethod
    def view(self, key: Any) -> dict[str, Any]:
        """Return one view, with the fields of a ``PlaceBatch``."""


def require_batch_size(places: int, views: int) -> None:
    """Raise ValueError unless batches of P places with K views contain positives and negatives."""
    if places < 2 or views < 2:
        raise ValueError(
            f"places and views must be at least 2, to form triplets, got {places} and {views}"
        )


def require_view_options(side: int, light: float) -> None:
    """Raise ValueError unless side and probability of photometric distortions are valid."""
    if side < 32 or side % 8:
        raise ValueError(f"side must be a multiple of 8, at least 32 pixels, got {side}")
    if not 0 <= light <= 1:
        raise ValueError(f"light must lie between 0 and 1, got {light}")


def split_keys(keys: Sequence[Any], size: int) -> list[list[Any]]:
    """Split keys into consecutive batches of ``size``; the last one may be smaller."""
    return [list(keys[i : i + size]) for i in range(0, len(keys), size)]


def place_loader(
    data: PlaceDataset, sampler: DistributedSampler[Any], num_workers: int
) -> DataLoader[Any]:
    """Return a loader of batches, whose views the sampler selects."""
    return DataLoader(
        data,
        batch_size=None,  # an item is a batch
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=identity_collate,
        pin_memory=torch.cuda.is_available(),
    )


def evaluation_loader(
    data: PlaceDataset, keys: Sequence[Any], size: int, process: tuple[int, int], num_workers: int
) -> DataLoader[Any]:
    """Return a loader of each view once, in order, with the batches divided among the processes.

    Args:
        data: The views.
        keys: Keys of the views to load.
        size: Views in a batch.
        process: Index of this process, and number of processes.
        num_workers: Processes that create or read views.
    """
    return place_loader(data, ShardSampler(split_keys(keys, size), *process), num_workers)
