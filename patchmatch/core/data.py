"""Base classes of data modules."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, RandomSampler, Sampler

from patchmatch.core.registration import subclasses
from patchmatch.core.samplers import ShardSampler, identity_collate


class MatchingData(LightningDataModule):
    """Base of every data module; nothing is generated or read before ``setup``.

    Args:
        num_workers: Worker processes of the data loader; 0 loads in the main process.
    """

    #: Type of the batches. Not inherited: a subclass without its own has batches of any type.
    batch_type: ClassVar[type | None] = None

    def __init__(self, num_workers: int) -> None:
        super().__init__()
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.num_workers = num_workers

    @property
    def rank_and_world_size(self) -> tuple[int, int]:
        """Rank of this process and the number of processes."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


class SplitData(MatchingData):
    """Base of data modules with a dataset for each split, which ``setup`` puts into ``sets``.

    Args:
        batch_size: Examples in a batch.
        num_workers: Worker processes of the data loaders; 0 loads in the main process.

    Attributes:
        sets: The datasets ``train``, ``val`` and ``test``, those of the stage.
    """

    def __init__(self, batch_size: int, num_workers: int) -> None:
        super().__init__(num_workers)
        self.batch_size = batch_size
        self.sets: dict[str, Any] = {}

    def train_sampler(self) -> Sampler[Any]:
        """Return the order of the training set: a random one in each epoch."""
        return RandomSampler(self.sets["train"])

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training set."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation set; every epoch has the same examples."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test set."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Any]:
        return DataLoader(
            self.sets[split],
            batch_size=self.batch_size,
            sampler=self.train_sampler() if split == "train" else None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class PredictionData(MatchingData):
    """Base of data modules for ``predict``; an item of the dataset is a batch.

    Args:
        num_workers: Worker processes of the data loader; 0 reads in the main process.

    Attributes:
        dataset: The batches; created by ``setup``. Writers read its length and, if it has them,
            ``input_files``: the files that it reads.
    """

    dataset: Any = None

    def __init__(self, num_workers: int) -> None:
        super().__init__(num_workers)
        # With several processes, one may get no batch.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._done: frozenset[int] = frozenset()

    def input_files(self) -> Iterable[Path]:
        """Return the files that ``predict`` reads, which a writer must not replace."""
        return getattr(self.dataset, "input_files", ())

    def skip(self, done: Collection[int]) -> None:
        """Skip batches that an earlier run has completed; the others keep their ``index``.

        Call it after ``setup`` and before ``predict_dataloader``.

        Args:
            done: The ``index`` of each completed batch.
        """
        self._done = frozenset(done)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches in order; several processes get disjoint batches."""
        assert self.dataset is not None
        left = [index for index in range(len(self.dataset)) if index not in self._done]
        return DataLoader(
            self.dataset,
            batch_size=None,  # an item is a batch
            sampler=ShardSampler(left, *self.rank_and_world_size),
            num_workers=self.num_workers,
            collate_fn=identity_collate,
        )


def data_modules_for(batch: type) -> list[str]:
    """Return the names of the data modules with batches of a type, in alphabetical order."""
    kinds = subclasses(MatchingData)
    return sorted({kind.__name__ for kind in kinds if vars(kind).get("batch_type") is batch})
