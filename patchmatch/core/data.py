"""What every data module shares."""

from collections.abc import Collection
from typing import Any, ClassVar

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from patchmatch.core.registration import subclasses
from patchmatch.core.samplers import ShardSampler, identity_collate


class MatchingData(LightningDataModule):
    """Base of every data module; it makes and reads nothing before ``setup``.

    Args:
        num_workers: Processes that make or read ahead; 0 does it in the main process.
    """

    #: What its batches are. It is not inherited: a subclass that does not say so may give any.
    batch_type: ClassVar[type | None] = None

    def __init__(self, num_workers: int) -> None:
        super().__init__()
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.num_workers = num_workers

    @property
    def rank_and_world_size(self) -> tuple[int, int]:
        """Number of this process, and how many share the run."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


class PredictionData(MatchingData):
    """Base of data that are there to be predicted; each batch is read, matched and written whole.

    Args:
        num_workers: Processes that read ahead; 0 reads in the main process.

    Attributes:
        dataset: The batches, a data set that ``setup`` makes; a writer counts them.
    """

    dataset: Any = None

    def __init__(self, num_workers: int) -> None:
        super().__init__(num_workers)
        # Of several processes, one may have nothing to do.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._done: frozenset[int] = frozenset()

    def skip(self, done: Collection[int]) -> None:
        """Leave out batches that a former run has done; the others keep their ``index``.

        Args:
            done: The ``index`` of each such batch. To be told after ``setup`` and before the first
                one is asked for.
        """
        self._done = frozenset(done)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches in order; of several processes, each gets batches of its own."""
        assert self.dataset is not None
        left = [index for index in range(len(self.dataset)) if index not in self._done]
        return DataLoader(
            self.dataset,
            batch_size=None,  # its items are batches
            sampler=ShardSampler(left, *self.rank_and_world_size),
            num_workers=self.num_workers,
            collate_fn=identity_collate,
        )


def data_modules_for(batch: type) -> list[str]:
    """Return the names of the data modules that give a kind of batch, in alphabetical order."""
    kinds = subclasses(MatchingData)
    return sorted(
        {
            kind.__name__
            for kind in kinds
            if batch is not None and vars(kind).get("batch_type") is batch
        }
    )
