"""Digits that turn themselves into shifted pairs, to train the shift matcher on."""

from patchmatch.core.errors import InputError
from patchmatch.shift.pairs import PairBatch, ShiftedPairs
from patchmatch.synthetic.dataset import SyntheticDataModule, require_positive


class ShiftedDigits(SyntheticDataModule):
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

    batch_type = PairBatch

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
        require_positive(
            train_pairs=train_pairs, eval_pairs=eval_pairs, canvases=canvases, batch_size=batch_size
        )
        sizes = (train_pairs, eval_pairs)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.pair_options = {
            "patch_size": patch_size,
            "shifts": shifts,
            "larger_share": larger_share,
            "augment": augment,
        }

    def _make(self, split: str) -> ShiftedPairs:
        if self.uses_digits:
            pictures = self._dead_leaves(self._digits(split), split)
        else:
            pictures = self._folder_images(split)
        try:
            return ShiftedPairs(pictures, self.sizes[split], self._seed(split), **self.pair_options)
        except ValueError as error:
            raise InputError(f"{self.source}: {error} in the {split} split") from error
