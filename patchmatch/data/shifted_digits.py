"""Digits that turn themselves into shifted pairs, to train the shift matcher on."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from patchmatch.data.base import MatchingData
from patchmatch.data.canvases import digit_canvases
from patchmatch.data.digits import load_digits, load_pictures, split_indices
from patchmatch.data.pairs import ShiftedPairs
from patchmatch.errors import InputError

SPLIT_ORDER = ("train", "val", "test")  # each split has canvases and pairs of its own seed


class ShiftedDigits(MatchingData):
    """Patch pairs, at most one pixel apart or told to be larger, cut from heaps of digits.

    Args:
        source: ``embedded`` (5,000 real MNIST digits, no network), ``mnist`` (torchvision's MNIST
            test set, found under ``data_dir`` or downloaded), or a folder of any images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs in an epoch of training; every epoch makes fresh ones.
        eval_pairs: Pairs in the validation and in the test set.
        canvases: Pictures composed of the training digits, a fifth of it for each other set.
        patch_size: Side of a patch in pixels.
        shifts: ``nine`` for the full 3x3 neighbourhood, ``four`` for one pixel along an axis.
        larger_share: Share of pairs beyond one pixel or of unrelated content.
        augment: Turn, mirror, blur, invert, dim and disturb the pairs. Transfer needs it.
        batch_size: Pairs in a batch.
        num_workers: Processes that make pairs; 0 makes them in the main process.
        seed: Seed of canvases and pairs; the same pairs whatever the number of workers.
    """

    def __init__(
        self,
        source: str = "embedded",
        data_dir: str = "data",
        train_pairs: int = 25_600,
        eval_pairs: int = 5_000,
        canvases: int = 1_000,
        patch_size: int = 26,
        shifts: str = "nine",
        larger_share: float = 0.15,
        augment: bool = True,
        batch_size: int = 128,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name in ("train_pairs", "eval_pairs", "canvases", "batch_size"):
            if locals()[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {locals()[name]}")
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.source, self.data_dir, self.canvases, self.seed = source, data_dir, canvases, seed
        self.sizes = {"train": train_pairs, "val": eval_pairs, "test": eval_pairs}
        self.pair_options = {
            "patch_size": patch_size,
            "shifts": shifts,
            "larger_share": larger_share,
            "augment": augment,
        }
        self.batch_size, self.num_workers = batch_size, num_workers
        self.sets: dict[str, ShiftedPairs] = {}

    def prepare_data(self) -> None:
        """Download MNIST once, if it is asked for and missing."""
        if self.source == "mnist":
            load_digits(self.source, self.data_dir)

    def setup(self, stage: str) -> None:
        """Compose the canvases of the splits that a stage needs."""
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for split in needed:
            if split not in self.sets:
                self.sets[split] = self._make(split)

    def _make(self, split: str) -> ShiftedPairs:
        seed = 1_000_003 * self.seed + SPLIT_ORDER.index(split)
        if self.source in ("embedded", "mnist"):
            digits = load_digits(self.source, self.data_dir)
            digits = digits[split_indices(len(digits), split)]
            count = self.canvases if split == "train" else max(1, self.canvases // 5)
            pictures = digit_canvases(digits, count, seed)
        else:
            pictures = load_pictures(self.source)
            if len(pictures) < 5:
                raise InputError(
                    f"{self.source}: holds {len(pictures)} images, at least 5 are needed to keep "
                    "training, validation and test apart"
                )
            pictures = [pictures[i] for i in split_indices(len(pictures), split)]
        try:
            return ShiftedPairs(pictures, self.sizes[split], seed, **self.pair_options)
        except ValueError as error:
            raise InputError(f"{self.source}: {error} in the {split} split") from error

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return fresh pairs in every epoch."""
        return self._loader("train", EpochSampler(self.sizes["train"]))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the validation pairs, always the same."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the test pairs, always the same."""
        return self._loader("test")

    def _loader(self, split: str, sampler: "EpochSampler | None" = None) -> DataLoader:
        return DataLoader(
            self.sets[split],
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


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
