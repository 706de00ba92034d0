"""Base of the data modules that generate their examples from colour images."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.io import to_rgb_uint8
from patchmatch.synthetic.dataset import MIN_IMAGES, STAGES, SyntheticDataModule
from patchmatch.synthetic.digits import split_indices
from patchmatch.synthetic.photographs import bundled_photographs, folder_images, load_rgb_image


class PhotoDataModule(SyntheticDataModule):
    """Base of synthetic data from photographs, dead-leaves images of digits or a folder of images.

    The images are split, not the examples: validation and test use no image of the training set.
    """

    def setup(self, stage: str) -> None:
        """Create the datasets of the splits of a stage."""
        if stage not in STAGES:
            raise InputError(
                f"{type(self).__name__}: generates training examples, cannot be used in predict; "
                "give another --data"
            )
        super().setup(stage)

    def _bundled_photographs(self, split: str) -> list[Path]:
        """Return the bundled photographs of a split; none if fewer than five are installed."""
        paths = bundled_photographs()
        if len(paths) < MIN_IMAGES:
            return []
        return [paths[i] for i in split_indices(len(paths), split)]

    def _split_images(self, split: str) -> list[np.ndarray]:
        """Return the images of a split, (H, W, 3) uint8 RGB."""
        if self.source == "photographs":
            if paths := self._bundled_photographs(split):
                return [load_rgb_image(path) for path in paths]
            warn(
                "scikit-image and scikit-learn are not installed: using dead-leaves images of "
                "digits; install them, or set --data.source to a folder of images"
            )
        if self.source == "photographs" or self.uses_digits:
            return self._dead_leaves_rgb(split)
        paths = folder_images(self.source)
        self._require_enough(len(paths))
        return [load_rgb_image(paths[i]) for i in split_indices(len(paths), split)]

    def _dead_leaves_rgb(self, split: str) -> list[np.ndarray]:
        """Return the dead-leaves images of a split, (H, W, 3) uint8."""
        images = self._dead_leaves(self._digits(split), split)
        return [to_rgb_uint8(image.clip(0, 1)) for image in images]
