"""What the data modules share that make their examples from digits or from pictures."""

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.synthetic.dead_leaves import dead_leaves_images
from patchmatch.synthetic.digits import load_digits, load_gray_images, split_indices

SPLIT_ORDER = ("train", "val", "test")  # each split has canvases and examples of its own seed
FEWEST = 5  # pictures, so that every split has one
STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class SyntheticDataModule(MatchingData, abc.ABC):
    """Base of data that make themselves; a subclass makes the data set of a split.

    Args:
        source: ``embedded``, ``mnist``, or a folder of any images.
        data_dir: Folder of downloaded data.
        sizes: Examples in the training set, and in each of the other two.
        canvases: Pictures composed of the training digits, a fifth of it for each other set.
        batch_size: Examples in a batch.
        num_workers: Processes that make examples; 0 makes them in the main process.
        seed: Seed of canvases and examples.
    """

    def __init__(
        self,
        source: str,
        data_dir: str,
        sizes: tuple[int, int],
        canvases: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(num_workers)
        self.source, self.data_dir, self.canvases, self.seed = source, data_dir, canvases, seed
        self.sizes = {"train": sizes[0], "val": sizes[1], "test": sizes[1]}
        self.batch_size = batch_size
        self.sets: dict[str, Any] = {}

    @abc.abstractmethod
    def _make(self, split: str) -> Dataset[Any]:
        """Return the data set of a split."""

    @property
    def uses_digits(self) -> bool:
        """Whether the canvases are composed of digits."""
        return self.source in ("embedded", "mnist")

    def prepare_data(self) -> None:
        """Download MNIST once, if it is asked for and missing."""
        if self.source == "mnist":
            load_digits(self.source, self.data_dir)

    def setup(self, stage: str) -> None:
        """Make the sets of the splits that a stage needs."""
        for split in STAGES.get(stage, ()):
            if split not in self.sets:
                self.sets[split] = self._make(split)

    def _seed(self, split: str) -> int:
        return 1_000_003 * self.seed + SPLIT_ORDER.index(split)

    def _digits(self, split: str) -> np.ndarray:
        """Return the digits of a split, embedded ones where the source is a folder."""
        digits = load_digits(self.source if self.uses_digits else "embedded", self.data_dir)
        return digits[split_indices(len(digits), split)]

    def _dead_leaves(self, digits: np.ndarray, split: str) -> list[np.ndarray]:
        """Return canvases of the digits of a split."""
        count = self.canvases if split == "train" else max(1, self.canvases // 5)
        return dead_leaves_images(digits, count, self._seed(split))

    def _folder_images(self, split: str) -> list[np.ndarray]:
        """Return the pictures of the folder that belong to a split."""
        pictures = load_gray_images(self.source)
        self._require_enough(len(pictures))
        return [pictures[i] for i in split_indices(len(pictures), split)]

    def _require_enough(self, count: int) -> None:
        if count < FEWEST:
            raise InputError(
                f"{self.source}: holds {count} images, at least {FEWEST} are needed to keep "
                "training, validation and test apart"
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """Return fresh examples in every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation set, always the same."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test set, always the same."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Any]:
        return DataLoader(
            self.sets[split],
            batch_size=self.batch_size,
            sampler=EpochSampler(self.sizes["train"]) if split == "train" else None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class SyntheticDataset(Dataset[Any], abc.ABC):
    """Base of data sets that make themselves: example ``(epoch, i)`` depends on it and the seed.

    Args:
        size: Number of examples.
        seed: Seed of the examples.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int | tuple[int, int]) -> Any:
        epoch, index = index if isinstance(index, tuple) else (0, index)
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.make(np.random.default_rng((self.seed, epoch, index)))

    @abc.abstractmethod
    def make(self, rng: np.random.Generator) -> Any:
        """Return an example; all chance comes from ``rng``."""


def require_positive(**values: int) -> None:
    """Raise ValueError unless every value is at least 1."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


class EpochSampler(Sampler[tuple[int, int]]):
    """Name (epoch, index) pairs in order, so that no epoch repeats the pairs of another.

    Lightning tells it the epoch. The pairs are random already: there is nothing to shuffle.
    """

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        """Go on to the pairs of another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in range(self.size))
