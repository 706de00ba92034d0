"""Data module of real or rendered stereo pairs with true disparity, to train and test on."""

from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from patchmatch.core.data import SplitData
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.stereo.data import StereoBatch
from patchmatch.stereo.layouts import StereoFiles, find_stereo_pairs, read_images, read_truth
from patchmatch.synthetic.dataset import EpochSampler, require_positive
from patchmatch.synthetic.photometry import jitter_photometry

VALIDATION = 10  # every tenth pair


class StereoCrops(Dataset[dict[str, Tensor]]):
    """Crops of pairs with true disparity.

    Args:
        files: Pairs with a truth.
        size: Height and width of the crops.
        disturbed: Probability of each photometric change.
        random: Whether crops are at random, not at the centre.
        seed: Seed of crops and changes.
    """

    def __init__(
        self,
        files: list[StereoFiles],
        size: tuple[int, int],
        disturbed: float,
        random: bool,
        seed: int,
    ) -> None:
        self.files, self.extent = files, size
        self.disturbed, self.random, self.seed = disturbed, random, seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = index if isinstance(index, tuple) else (0, index)
        files = self.files[index]
        arrays = read_images(files)
        arrays = [np.broadcast_to(a[..., :3], (*a.shape[:2], 3)) for a in arrays]
        height, width = self.extent
        full = arrays[0].shape[:2]
        known = read_truth(files, full)
        assert known is not None
        if arrays[1].shape[:2] != full or full[0] < height or full[1] < width:
            raise InputError(
                f"{files.left}: expected two images of at least {width}x{height} pixels, got "
                f"{full[1]}x{full[0]}; set a smaller --data.height and --data.width"
            )
        rng = np.random.default_rng((self.seed, epoch, index))
        top, left = (full[0] - height) // 2, (full[1] - width) // 2
        if self.random:
            top, left = (int(rng.integers(2 * part + 1)) for part in (top, left))
        area = slice(top, top + height), slice(left, left + width)
        crops = [a[area].astype(np.float32) for a in arrays]
        if self.random:
            crops = [jitter_photometry(c, self.disturbed, rng).astype(np.float32) for c in crops]
        image0, image1 = (torch.from_numpy(c.transpose(2, 0, 1).copy()) for c in crops)
        disparity, visible = (torch.from_numpy(x[area].copy()) for x in known)
        columns = torch.arange(width)
        return {
            "image0": image0,
            "image1": image1,
            "disparity": disparity,
            "visible": visible & (torch.nan_to_num(disparity) <= columns),
        }


class StereoFolder(SplitData):
    """Stereo pairs with true disparity, in the layout of their data set.

    Training uses random crops of nine pairs in ten, validation central crops of every tenth pair,
    and a test those of all pairs. Pairs without a truth are left out.

    Args:
        pairs: The folder of SceneFlow, KITTI 2012 or 2015, Middlebury 2014 or 2021 or ETH3D in its
            own layout; or a table or folder as for ``predict``.
        height: Height of a crop in pixels.
        width: Width of a crop in pixels.
        disturbed: Probability of each photometric change of a training image.
        batch_size: Pairs in a batch.
        num_workers: Worker processes that read pairs; 0 uses the main process.
        seed: Seed of crops and changes.
    """

    batch_type = StereoBatch

    def __init__(
        self,
        pairs: str = "data/stereo",
        height: int = 256,
        width: int = 512,
        disturbed: float = 0.25,
        batch_size: int = 2,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        require_positive(batch_size=batch_size)
        if min(height, width) < 32 or height % 16 or width % 16:
            raise ValueError(
                f"height and width must be multiples of 16, at least 32, got {height} and {width}"
            )
        if not 0 <= disturbed <= 1:
            raise ValueError(f"disturbed must lie between 0 and 1, got {disturbed}")
        self.pairs, self.extent, self.disturbed = pairs, (height, width), disturbed
        self.seed = seed

    def setup(self, stage: str) -> None:
        """Find the pairs.

        Raises:
            InputError: If the stage is predict, or no pair has a truth.
        """
        if stage == "predict":
            raise InputError(
                f"{type(self).__name__}: trains and tests only; give --data StereoPairs to predict"
            )
        if self.sets:
            return
        files, notes = find_stereo_pairs(self.pairs)
        for note in notes:
            rank_zero_only(warn)(note)
        known = [pair for pair in files if pair.truth is not None]
        if not known:
            raise InputError(
                f"{self.pairs}: none of {len(files)} pairs has a true disparity; add the truth"
            )
        held = known[::VALIDATION]
        train = [pair for i, pair in enumerate(known) if i % VALIDATION] or known
        for split, part in (("train", train), ("val", held), ("test", known)):
            is_train = split == "train"
            self.sets[split] = StereoCrops(part, self.extent, self.disturbed, is_train, self.seed)

    def train_sampler(self) -> Sampler[Any]:
        """Return the pairs in an order drawn for each epoch."""
        return ShuffledEpochs(len(self.sets["train"]), self.seed)


class ShuffledEpochs(EpochSampler):
    """Yield ``(epoch, index)`` in an order drawn for each epoch.

    Args:
        size: Number of pairs.
        seed: Seed of the orders.
    """

    def __init__(self, size: int, seed: int) -> None:
        super().__init__(size)
        self.seed = seed

    def __iter__(self) -> Any:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return ((self.epoch, int(index)) for index in order)
