"""What the data modules share that make their pairs from colour pictures."""

import warnings
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import to_rgb_uint8
from patchmatch.synthetic.dataset import FEWEST, STAGES, SyntheticDataModule
from patchmatch.synthetic.digits import split_indices
from patchmatch.synthetic.photographs import bundled_photographs, folder_images, load_rgb_image


class PhotoDataModule(SyntheticDataModule):
    """Base of data that make themselves from photographs, heaps of digits or a folder of images.

    The pictures are split, not the examples: what is validated or tested on was never trained on.
    """

    def setup(self, stage: str) -> None:
        """Gather the pictures of the splits that a stage needs."""
        if stage not in STAGES:
            raise InputError(
                f"{type(self).__name__} make pairs to learn from; they predict nothing"
            )
        super().setup(stage)

    def _bundled_photographs(self, split: str) -> list[Path]:
        """Return the photographs of a split that libraries carry; none where they are too few."""
        paths = bundled_photographs()
        if len(paths) < FEWEST:
            return []
        return [paths[i] for i in split_indices(len(paths), split)]

    def _split_images(self, split: str) -> list[np.ndarray]:
        """Return the pictures of a split, (H, W, 3) uint8 RGB."""
        if self.source == "photographs":
            if paths := self._bundled_photographs(split):
                return [load_rgb_image(path) for path in paths]
            warnings.warn(
                "scikit-image and scikit-learn are not installed: pictures are made of digits; "
                "install them or give data.source a folder of images",
                stacklevel=2,
            )
        if self.source == "photographs" or self.uses_digits:
            return self._dead_leaves_rgb(split)
        paths = folder_images(self.source)
        self._require_enough(len(paths))
        return [load_rgb_image(paths[i]) for i in split_indices(len(paths), split)]

    def _dead_leaves_rgb(self, split: str) -> list[np.ndarray]:
        """Return heaps of the digits of a split, (H, W, 3) uint8."""
        canvases = self._dead_leaves(self._digits(split), split)
        return [to_rgb_uint8(canvas.clip(0, 1)) for canvas in canvases]
