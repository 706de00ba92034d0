"""Synthetic scenes of moving layers, to train the motion matcher."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.motion.layered_scenes import degrade_frames, make_scene
from patchmatch.synthetic.dataset import (
    STAGES,
    SyntheticDataModule,
    SyntheticDataset,
    require_positive,
)

BLOCK = 32  # pixels
CUT_SHARE = 0.06  # share of pairs with a cut, whose later frame shows another scene


class MotionBatch(TypedDict):
    """Frame pairs with the ground-truth motion of every block."""

    frames: Tensor  #: (B, 1, 2, H, W) float32 gray; time is the depth axis
    displacement: Tensor  #: (B, rows, columns, 2): median flow of each block in pixels
    visible: Tensor  #: (B, rows, columns): share of each block that is visible in frame 1


class MovingScenes(SyntheticDataset):
    """Scenes of moving layers; scene ``(epoch, i)`` depends only on the seed and its index.

    Args:
        textures: (H, W) float32 images in [0, 1].
        masks: (N, 28, 28) uint8 images of digits, the shapes of the layers.
        size: Number of scenes.
        seed: Seed of the scenes.
        side: Side of a frame in pixels, a multiple of 32.
        upright: Whether textures stay upright, as photographs are.
    """

    def __init__(
        self,
        textures: Sequence[np.ndarray],
        masks: np.ndarray,
        size: int,
        seed: int,
        side: int,
        upright: bool,
    ) -> None:
        super().__init__(size, seed)
        self.textures, self.masks = textures, masks
        self.side, self.upright = side, upright

    def make(self, rng: np.random.Generator) -> MotionBatch:
        """Return a degraded scene without a batch dimension."""
        scene = make_scene(self.textures, self.masks, self.side, rng, self.upright)
        if rng.random() < CUT_SHARE:
            other = make_scene(self.textures, self.masks, self.side, rng, self.upright)
            scene = scene._replace(frame1=other.frame1, visible=np.zeros_like(scene.visible))
        frames = np.stack(degrade_frames(scene.frame0, scene.frame1, rng)).astype(np.float32) / 255
        if rng.random() < 0.3:
            frames = 1 - frames
        count = self.side // BLOCK
        flow = scene.flow.reshape(count, BLOCK, count, BLOCK, 2).swapaxes(1, 2)
        visible = scene.visible.reshape(count, BLOCK, count, BLOCK).mean(axis=(1, 3))
        return {
            "frames": torch.from_numpy(frames)[None],
            "displacement": torch.from_numpy(np.median(flow, axis=(2, 3))),
            "visible": torch.from_numpy(visible.astype(np.float32)),
        }


class MovingDigits(SyntheticDataModule):
    """Synthetic frame pairs of moving layers, whose textures are dead-leaves images of digits.

    Args:
        source: Source of the textures: ``embedded`` (5,000 real MNIST digits, no download),
            ``mnist`` (torchvision's MNIST test set, read from ``data_dir`` or downloaded), or a
            folder of any images, which then replace the digits as textures.
        data_dir: Folder of downloaded data.
        train_scenes: Training scenes per epoch; every epoch generates new ones.
        eval_scenes: Scenes in each of the validation and test sets.
        canvases: Dead-leaves images of the training set; the other sets have a fifth of it.
        side: Side of a frame in pixels, a multiple of 32.
        batch_size: Frame pairs per batch.
        num_workers: Processes that generate scenes; 0 uses the main process.
        seed: Seed of textures and scenes, which do not depend on the number of workers.
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
            raise ValueError(
                f"side must be a multiple of {BLOCK} and at least {2 * BLOCK}, got {side}"
            )
        sizes = (train_scenes, eval_scenes)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.side = side

    def setup(self, stage: str) -> None:
        """Generate the textures of the splits of a stage."""
        if stage not in STAGES:
            raise InputError(
                "MovingDigits has no frames to predict, only synthetic scenes; give --data Frames"
            )
        super().setup(stage)

    def _make(self, split: str) -> MovingScenes:
        digits, seed = self._digits(split), self._seed(split)
        if self.uses_digits:
            pictures = [canvas.clip(0, 1) for canvas in self._dead_leaves(digits, split)]
        else:
            pictures = self._folder_images(split)
        upright = not self.uses_digits
        return MovingScenes(pictures, digits, self.sizes[split], seed, self.side, upright)
