"""Training pairs of Patch2Pix: two views of generated scenes with their fundamental matrix."""

from typing import TypedDict

import numpy as np
from torch import Tensor

from patchmatch.pairs.homography.data import WarpedImages
from patchmatch.synthetic.scene_sampling import SceneRange
from patchmatch.synthetic.scenes import SceneDataset


class EpipolarBatch(TypedDict):
    """Two views of scenes. Only ``fundamental`` supervises; ``flow`` serves the evaluation."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    fundamental: Tensor  #: (B, 3, 3) float64 of norm 1, x1 F x0 = 0
    flow: Tensor  #: (B, 2, H, W) float32, from image 0 to image 1; zero where not valid
    valid: Tensor  #: (B, H, W) bool: the pixel of image 0 is visible in image 1


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
        self.scenes = SceneRange(roll=turn, zoom=zoom, disturbed=disturbed)

    def _make(self, split: str) -> EpipolarDataset:
        sources, size, seed = self._split_images(split), self.sizes[split], self._seed(split)
        return EpipolarDataset(sources, size, seed, self.side, self.side, self.scenes)
