"""Training pairs of Patch2Pix with their fundamental matrix: generated scenes, and photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import SplitData
from patchmatch.core.errors import InputError
from patchmatch.io import read_image, to_rgb_uint8
from patchmatch.pairs.homography.data import WarpedImages
from patchmatch.pairs.posed_pairs import PosedPair, Scenes, read_megadepth, read_phototourism
from patchmatch.synthetic.dataset import require_positive
from patchmatch.synthetic.rendering import fundamental_matrix
from patchmatch.synthetic.scene_sampling import SceneRange
from patchmatch.synthetic.scenes import SceneDataset

HELD_OUT = 10  # every tenth scene of MegaDepth is for validation, without PhotoTourism


class EpipolarBatch(TypedDict):
    """Two views of scenes. ``flow`` serves the evaluation, and the dense supervision."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    fundamental: Tensor  #: (B, 3, 3) float64 of norm 1, x1 F x0 = 0
    flow: Tensor  #: (B, 2, H, W) float32, from image 0 to image 1; zero where not valid
    valid: Tensor  #: (B, H, W) bool: the pixel of image 0 is visible in image 1, and flow known


class EpipolarDataset(SceneDataset):
    """Two views of scenes with the fields of ``EpipolarBatch``; see ``SceneDataset``."""

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a random pair as tensors, see ``EpipolarBatch``."""
        pair = super().make(rng)
        return {name: pair[name] for name in EpipolarBatch.__annotations__}


class EpipolarPairs(WarpedImages):
    """Two views of generated scenes with their fundamental matrix (``SceneDataset``).

    Textures and splits are those of the images of ``WarpedImages``.

    Args:
        source: ``photographs`` (those bundled with scikit-image, scikit-learn and matplotlib, where
            installed; otherwise dead-leaves images of digits), ``embedded`` or ``mnist``
            (dead-leaves images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs per training epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images composed of the training digits, see ``WarpedImages``.
        side: Side of an image in pixels, a multiple of 8.
        turn: Maximum rotation of the second camera around its axis in degrees.
        zoom: Maximum change of scale in octaves.
        small: Share of the pairs whose motion is scaled down, to no visible motion at the least.
        disturbed: Probability of each photometric change, see ``WarpedImages``; null disables them.
        batch_size: Pairs per batch.
        num_workers: Worker processes that generate pairs; 0 uses the main process.
        seed: Seed of dead-leaves images and pairs. The pairs do not depend on num_workers.
    """

    batch_type = EpipolarBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 256,
        eval_pairs: int = 32,
        canvases: int = 8,
        side: int = 192,
        turn: float = 25.0,
        zoom: float = 0.5,
        small: float = 0.0,
        disturbed: float | None = 0.3,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        if side % 8:
            raise ValueError(f"side must be a multiple of 8 pixels, got {side}")
        super().__init__(
            source=source,
            data_dir=data_dir,
            train_pairs=train_pairs,
            eval_pairs=eval_pairs,
            canvases=canvases,
            side=side,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.scenes = SceneRange(roll=turn, zoom=zoom, small=small, disturbed=disturbed)

    def _make(self, split: str) -> EpipolarDataset:
        sources, size, seed = self._split_images(split), self.sizes[split], self._seed(split)
        return EpipolarDataset(sources, size, seed, self.side, self.side, self.scenes)


class PosedDataset(Dataset[Any]):
    """Pairs of photographs with known cameras, as the fields of ``EpipolarBatch``.

    Their correspondences are not known: ``valid`` is False.

    Args:
        pairs: The pairs.
        height: Height in pixels to which the cropped images are resized.
        width: Width in pixels.
    """

    def __init__(self, pairs: Sequence[PosedPair], height: int, width: int) -> None:
        self.pairs, self.height, self.width = list(pairs), height, width

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pair = self.pairs[index]
        images, intrinsics = [], []
        for path, matrix, crop in zip(pair.images, pair.intrinsics, pair.crops, strict=True):
            image = to_rgb_uint8(read_image(path))
            image = image[: image.shape[0] - crop[1], : image.shape[1] - crop[0]]
            if not image.size:
                raise InputError(f"{path}: smaller than the crop of its pair; copy the image again")
            scale = self.width / image.shape[1], self.height / image.shape[0]
            image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
            images.append(torch.from_numpy(image).movedim(-1, 0).float() / 255)
            # (0, 0) moves from the corner of the top-left pixel to its centre
            to_pixels = np.array([[scale[0], 0, -0.5], [0, scale[1], -0.5], [0, 0, 1]])
            intrinsics.append(torch.from_numpy(to_pixels @ matrix))
        return {
            "image0": images[0],
            "image1": images[1],
            "fundamental": fundamental_matrix(torch.from_numpy(pair.pose), *intrinsics),
            "flow": torch.zeros(2, self.height, self.width),
            "valid": torch.zeros(self.height, self.width, dtype=torch.bool),
        }


class PosedPairs(SplitData):
    """Pairs of photographs with known cameras: MegaDepth to train, PhotoTourism to validate.

    Args:
        megadepth: Folder of MegaDepth as D2-Net prepares it: scene_info/SCENE.npz, and the images
            in Undistorted_SfM/SCENE/images or in SCENE/images. Not needed by validate and test
            with PhotoTourism.
        pairs: Pair file of Patch2Pix, megadepth_pairs.ov0.35_imrat1.5.pair500.excl_test.npy; null
            selects pairs of landscape images from scene_info.
        phototourism: Folder of the validation scenes of PhotoTourism:
            SCENE/dense/images and SCENE/dense/sparse. Null holds every tenth scene of MegaDepth out
            of the training, at least one.
        overlap: Minimum overlap of the pairs of MegaDepth.
        val_overlap: Minimum overlap of the pairs of PhotoTourism.
        scene_pairs: Number of training pairs of a scene.
        val_pairs: Number of validation pairs of a scene.
        height: Height in pixels to which the images are resized, a multiple of 8.
        width: Width in pixels, a multiple of 8. Images are cropped to this aspect ratio.
        batch_size: Pairs per batch.
        num_workers: Worker processes that read the images; 0 reads them in the main process.
        seed: Seed of the choice of pairs.
    """

    batch_type = EpipolarBatch

    def __init__(
        self,
        megadepth: str | None = None,
        pairs: str | None = None,
        phototourism: str | None = None,
        overlap: float = 0.35,
        val_overlap: float = 0.3,
        scene_pairs: int = 500,
        val_pairs: int = 300,
        height: int = 320,
        width: int = 480,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        require_positive(scene_pairs=scene_pairs, val_pairs=val_pairs, batch_size=batch_size)
        for name, share in (("overlap", overlap), ("val_overlap", val_overlap)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {share}")
        for name, side in (("height", height), ("width", width)):
            if side < 32 or side % 8:
                raise ValueError(f"{name} must be a multiple of 8, at least 32, got {side}")
        self.megadepth, self.pairs, self.phototourism = megadepth, pairs, phototourism
        self.overlap, self.val_overlap = overlap, val_overlap
        self.scene_pairs, self.val_pairs = scene_pairs, val_pairs
        self.height, self.width = height, width
        self.seed = seed

    def setup(self, stage: str) -> None:
        """Read the lists of pairs."""
        train: Scenes = {}
        if stage == "fit" or self.phototourism is None:
            train = self._train_scenes()
        if self.phototourism is not None:
            ratio = self.width / self.height
            val = read_phototourism(
                Path(self.phototourism), self.val_overlap, self.val_pairs, ratio, self.seed
            )
        else:
            if len(train) < 2:
                raise InputError(
                    f"{self.megadepth}: contains one scene, and validation needs another one; give "
                    "--data.phototourism"
                )
            held_out = sorted(train)[::HELD_OUT]
            val = {name: train.pop(name)[: self.val_pairs] for name in held_out}
        for name, scenes in (("train", train), ("val", val)):
            pairs = [pair for scene in scenes.values() for pair in scene]
            self.sets[name] = PosedDataset(pairs, self.height, self.width)
        self.sets["test"] = self.sets["val"]

    def _train_scenes(self) -> Scenes:
        if self.megadepth is None:
            raise InputError("PosedPairs: no training pairs; give --data.megadepth FOLDER")
        pairs = None if self.pairs is None else Path(self.pairs)
        ratio = self.width / self.height
        return read_megadepth(
            Path(self.megadepth), pairs, self.overlap, self.scene_pairs, ratio, self.seed
        )
