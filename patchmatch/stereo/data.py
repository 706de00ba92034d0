"""Data module of generated stereo pairs."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from patchmatch.stereo.scenes import sample_scene
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive
from patchmatch.synthetic.image_source import PhotoDataModule


class StereoBatch(TypedDict):
    """Rectified pairs with exact disparity, x1 = x0 - d."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1], left
    image1: Tensor  #: (B, 3, H, W), right
    disparity: Tensor  #: (B, H, W) float32 in pixels
    visible: Tensor  #: (B, H, W) bool, False where occluded or outside image 1


class StereoSceneDataset(SyntheticDataset):
    """Generated stereo pairs.

    Args:
        textures: (H, W, 3) uint8 RGB images.
        pairs: Number of pairs.
        size: Height and width.
        max_disparity: Largest disparity in pixels.
        disturbed: Probability of each photometric change.
        seed: Seed of the pairs.
    """

    def __init__(
        self,
        textures: list[np.ndarray],
        pairs: int,
        size: tuple[int, int],
        max_disparity: int,
        disturbed: float,
        seed: int,
    ) -> None:
        super().__init__(pairs, seed)
        self.textures, self.extent, self.max_disparity = textures, size, max_disparity
        self.disturbed = disturbed

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        scene = sample_scene(self.textures, self.extent, self.max_disparity, self.disturbed, rng)
        images = (
            torch.from_numpy(i.transpose(2, 0, 1).copy()) for i in (scene.image0, scene.image1)
        )
        image0, image1 = images
        return {
            "image0": image0,
            "image1": image1,
            "disparity": torch.from_numpy(scene.disparity),
            "visible": torch.from_numpy(scene.visible),
        }


class StereoScenes(PhotoDataModule):
    """Stereo pairs of slanted textured planes, generated automatically.

    Args:
        source: ``photographs`` (those bundled with scikit-image and scikit-learn), ``embedded`` or
            ``mnist`` (dead-leaves images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs per training epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images composed of the training digits, added to the photographs.
        height: Height of a pair in pixels.
        width: Width of a pair in pixels.
        max_disparity: Largest disparity in pixels, less than the width.
        disturbed: Probability of each photometric change of an image.
        batch_size: Pairs in a batch.
        num_workers: Worker processes that generate pairs; 0 uses the main process.
        seed: Seed of dead-leaves images and pairs.
    """

    batch_type = StereoBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 160,
        eval_pairs: int = 16,
        canvases: int = 8,
        height: int = 64,
        width: int = 224,
        max_disparity: int = 48,
        disturbed: float = 0.25,
        batch_size: int = 2,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(
            train_pairs=train_pairs,
            eval_pairs=eval_pairs,
            canvases=canvases,
            max_disparity=max_disparity,
            batch_size=batch_size,
        )
        if min(height, width) < 32:
            raise ValueError(f"height and width must be at least 32, got {height} and {width}")
        if max_disparity >= width:
            raise ValueError(f"max_disparity must be less than width {width}, got {max_disparity}")
        if not 0 <= disturbed <= 1:
            raise ValueError(f"disturbed must lie between 0 and 1, got {disturbed}")
        sizes = (train_pairs, eval_pairs)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.extent, self.max_disparity, self.disturbed = (height, width), max_disparity, disturbed

    def _make(self, split: str) -> StereoSceneDataset:
        textures = self._split_images(split)
        if not self.uses_digits:
            textures = textures + self._dead_leaves_rgb(split)
        return StereoSceneDataset(
            textures, self.sizes[split], self.extent, self.max_disparity, self.disturbed,
            self._seed(split),
        )  # fmt: skip
