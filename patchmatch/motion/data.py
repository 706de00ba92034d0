"""Digits that move over each other, to train the motion matcher on."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.motion.layered_scenes import disturb, make_scene
from patchmatch.synthetic.dataset import (
    STAGES,
    SyntheticDataModule,
    SyntheticDataset,
    require_positive,
)

BLOCK = 32  # pixels
CUT_SHARE = 0.06  # of the pairs are a cut: the later frame shows another scene


class MotionBatch(TypedDict):
    """Frame pairs with the exact motion of every block."""

    frames: Tensor  #: (B, 1, 2, H, W) float32 gray; time is the depth axis
    displacement: Tensor  #: (B, rows, columns, 2): the median of the flow in each block, pixels
    visible: Tensor  #: (B, rows, columns): share of each block that can be seen in frame 1


class MovingScenes(SyntheticDataset):
    """Scenes of moving layers; scene ``(epoch, i)`` depends on the seed and its index alone.

    Args:
        canvases: (H, W) float32 pictures in [0, 1]: the textures.
        outlines: (N, 28, 28) uint8 digits: the outlines.
        size: Number of scenes.
        seed: Seed of the scenes.
        side: Side of a frame in pixels, a multiple of 32.
        upright: Whether textures stay upright, as photographs are.
    """

    def __init__(
        self,
        canvases: Sequence[np.ndarray],
        outlines: np.ndarray,
        size: int,
        seed: int,
        side: int,
        upright: bool,
    ) -> None:
        super().__init__(size, seed)
        self.canvases, self.outlines = canvases, outlines
        self.side, self.upright = side, upright

    def make(self, rng: np.random.Generator) -> MotionBatch:
        """Return a scene."""
        scene = make_scene(self.canvases, self.outlines, self.side, rng, self.upright)
        if rng.random() < CUT_SHARE:
            other = make_scene(self.canvases, self.outlines, self.side, rng, self.upright)
            scene = scene._replace(frame1=other.frame1, visible=np.zeros_like(scene.visible))
        frames = np.stack(disturb(scene.frame0, scene.frame1, rng)).astype(np.float32) / 255
        if rng.random() < 0.3:
            frames = 1 - frames
        count = self.side // BLOCK
        tiles = scene.flow.reshape(count, BLOCK, count, BLOCK, 2).swapaxes(1, 2)
        seen = scene.visible.reshape(count, BLOCK, count, BLOCK).mean(axis=(1, 3))
        return {
            "frames": torch.from_numpy(frames)[None],
            "displacement": torch.from_numpy(np.median(tiles, axis=(2, 3))),
            "visible": torch.from_numpy(seen.astype(np.float32)),
        }


class MovingDigits(SyntheticDataModule):
    """Frame pairs of layers that move over each other, textured with heaps of digits.

    Args:
        source: ``embedded`` (5,000 real MNIST digits, no network), ``mnist`` (torchvision's MNIST
            test set, found under ``data_dir`` or downloaded), or a folder of any images, whose
            textures then take the place of the digits'.
        data_dir: Folder of downloaded data.
        train_scenes: Scenes in an epoch of training; every epoch makes fresh ones.
        eval_scenes: Scenes in the validation and in the test set.
        canvases: Pictures composed of the training digits, a fifth of it for each other set.
        side: Side of a frame in pixels, a multiple of 32.
        batch_size: Frame pairs in a batch.
        num_workers: Processes that make scenes; 0 makes them in the main process.
        seed: Seed of canvases and scenes; the same scenes whatever the number of workers.
    """

    batch_type = MotionBatch

    def __init__(
        self,
        source: str = "embedded",
        data_dir: str = "data",
        train_scenes: int = 1_500,
        eval_scenes: int = 100,
        canvases: int = 400,
        side: int = 320,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(
            train_scenes=train_scenes,
            eval_scenes=eval_scenes,
            canvases=canvases,
            batch_size=batch_size,
        )
        if side < 2 * BLOCK or side % BLOCK:
            raise ValueError(f"side must be a multiple of {BLOCK}, at least 64, got {side}")
        sizes = (train_scenes, eval_scenes)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.side = side

    def setup(self, stage: str) -> None:
        """Compose the textures of the splits that a stage needs."""
        if stage not in STAGES:
            raise InputError("MovingDigits make scenes to learn from; to predict, use Frames")
        super().setup(stage)

    def _make(self, split: str) -> MovingScenes:
        digits, seed = self._digits(split), self._seed(split)
        if self.uses_digits:
            pictures = [canvas.clip(0, 1) for canvas in self._dead_leaves(digits, split)]
        else:
            pictures = self._folder_images(split)
        upright = not self.uses_digits
        return MovingScenes(pictures, digits, self.sizes[split], seed, self.side, upright)
