"""Bases of the data modules and datasets that generate examples from digits or images."""

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from patchmatch.core.data import SplitData
from patchmatch.core.errors import InputError
from patchmatch.synthetic.dead_leaves import dead_leaves_images
from patchmatch.synthetic.digits import load_digits, split_indices
from patchmatch.synthetic.photographs import load_gray_images

SPLIT_ORDER = ("train", "val", "test")  # the seed of a split depends on its position
MIN_IMAGES = 5  # so that every split has one
STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class SyntheticDataModule(SplitData, abc.ABC):
    """Base of data modules with synthetic datasets; a subclass creates the dataset of a split.

    Args:
        source: ``embedded``, ``mnist``, or a folder of any images.
        data_dir: Folder of downloaded data.
        sizes: Number of examples in the training set, and in the validation or test set.
        num_images: Dead-leaves images composed of the training digits; validation and test get a
            fifth of this number each.
        batch_size: Examples in a batch.
        num_workers: Processes that generate examples; 0 generates them in the main process.
        seed: Seed of dead-leaves images and examples.
    """

    def __init__(
        self,
        source: str,
        data_dir: str,
        sizes: tuple[int, int],
        num_images: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source, self.data_dir, self.num_images, self.seed = source, data_dir, num_images, seed
        self.sizes = {"train": sizes[0], "val": sizes[1], "test": sizes[1]}

    @abc.abstractmethod
    def _make(self, split: str) -> Dataset[Any]:
        """Return the dataset of a split."""

    @property
    def uses_digits(self) -> bool:
        """Whether the images are composed of digits."""
        return self.source in ("embedded", "mnist")

    def prepare_data(self) -> None:
        """Download MNIST if it is the source and missing."""
        if self.source == "mnist":
            load_digits(self.source, self.data_dir)

    def setup(self, stage: str) -> None:
        """Create the datasets of the splits of a stage."""
        for split in STAGES.get(stage, ()):
            if split not in self.sets:
                self.sets[split] = self._make(split)

    def _seed(self, split: str) -> int:
        return 1_000_003 * self.seed + SPLIT_ORDER.index(split)

    def _digits(self, split: str) -> np.ndarray:
        """Return the digits of a split; the embedded ones if the source is a folder."""
        digits = load_digits(self.source if self.uses_digits else "embedded", self.data_dir)
        return digits[split_indices(len(digits), split)]

    def _dead_leaves(self, digits: np.ndarray, split: str) -> list[np.ndarray]:
        """Return the dead-leaves images of a split, (H, W) float32."""
        count = self.num_images if split == "train" else max(1, self.num_images // 5)
        return dead_leaves_images(digits, count, self._seed(split))

    def _folder_images(self, split: str) -> list[np.ndarray]:
        """Return the images of a split of the folder, (H, W) float32."""
        images = load_gray_images(self.source)
        self._require_enough(len(images))
        return [images[i] for i in split_indices(len(images), split)]

    def _require_enough(self, count: int) -> None:
        if count < MIN_IMAGES:
            raise InputError(
                f"{self.source}: expected at least {MIN_IMAGES} images, to split them into "
                f"training, validation and test, got {count}; add images"
            )

    def train_sampler(self) -> Sampler[Any]:
        """Return the examples of a new epoch in order."""
        return EpochSampler(self.sizes["train"])


class SyntheticDataset(Dataset[Any], abc.ABC):
    """Base of datasets that generate their examples.

    Example ``(epoch, i)``, or ``i`` in epoch 0, depends only on this index and on the seed.

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
        """Return an example; ``rng`` is the only source of randomness."""


def require_positive(**values: int) -> None:
    """Raise ValueError unless every value is at least 1."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


class EpochSampler(Sampler[tuple[int, int]]):
    """Yield ``(epoch, index)`` in order, so that every epoch has new examples.

    Lightning sets the epoch. The examples are random, so shuffling is not needed.
    """

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in range(self.size))
