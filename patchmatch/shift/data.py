"""Training data of the shift matcher: shifted patch pairs, generated from digits or images."""

from patchmatch.core.errors import InputError
from patchmatch.shift.pairs import PairBatch, ShiftedPairs
from patchmatch.synthetic.dataset import SyntheticDataModule, require_positive


class ShiftedDigits(SyntheticDataModule):
    """Patch pairs with a known shift of at most one pixel, or of the class ``larger``.

    The patches are cropped from dead-leaves images of MNIST digits, or from a folder of images.

    Args:
        source: ``embedded`` (5,000 real MNIST digits, no network), ``mnist`` (torchvision's MNIST
            test set, found under ``data_dir`` or downloaded), or a folder of any images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs in a training epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images composed of the training digits; validation and test get a
            fifth of this number each.
        patch_size: Side of a patch in pixels.
        shifts: ``nine`` for the full 3x3 neighbourhood, ``four`` for one pixel along an axis.
        larger_share: Share of pairs displaced by more than one pixel or of unrelated content.
        augment: Augment the pairs by rotation, flip, blur, contrast, polarity, gain, offset and
            noise. Required for transfer to photographs.
        batch_size: Pairs in a batch.
        num_workers: Processes that generate pairs; 0 generates them in the main process.
        seed: Seed of dead-leaves images and pairs; the result does not depend on ``num_workers``.
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
            images = self._dead_leaves(self._digits(split), split)
        else:
            images = self._folder_images(split)
        try:
            return ShiftedPairs(images, self.sizes[split], self._seed(split), **self.pair_options)
        except ValueError as error:
            raise InputError(f"{self.source}: {error} in the {split} split") from error
