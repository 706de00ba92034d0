"""Synthetic patch pairs with a known displacement: two crops of one image."""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.shift.ops import LARGER, SHIFTS
from patchmatch.synthetic.dataset import SyntheticDataset

MAX_DISPLACEMENT = 6  # pixels in x and in y, of pairs of the class ``larger``
UNRELATED_SHARE = 1 / 3  # of the pairs of the class ``larger``: crops of two random locations
SHIFT_SETS = {
    "nine": SHIFTS,  # the full 3x3 neighbourhood
    "four": ((0, -1), (-1, 0), (1, 0), (0, 1)),  # one pixel along an axis
}
CONTRAST, NOISE = (4.0, 70.0), (0.5, 12.0)  # gray levels of 255: deviation before and of the noise
MAX_GAIN = 6.0  # of the stretch to that contrast
BLUR_SHARE = 0.1


class PairBatch(TypedDict):
    """Patch pairs with exact ground truth."""

    frames: Tensor  #: (B, 1, 2, H, W) float32 gray; time is the depth axis
    shift: Tensor  #: (B,) long: index into ``ops.SHIFTS``, or ``ops.LARGER``
    displacement: Tensor  #: (B, 2) float, dx and dy in pixels; NaN where the content is unrelated


class ShiftedPairs(SyntheticDataset):
    """Pairs of patches cropped from images.

    Pair ``i`` (or ``(epoch, i)``) depends only on the images, the seed and its index, not on the
    number of workers or the order of access.

    Args:
        images: (H, W) float32 in [0, 1]; images too small to crop from are left out.
        size: Number of pairs.
        seed: Seed of the pairs.
        patch_size: Side of a patch in pixels.
        shifts: ``nine`` or ``four``, see ``SHIFT_SETS``.
        larger_share: Share of pairs of the class ``larger``: displaced by more than one pixel, or
            of unrelated content.
        augment: Whether to rotate by multiples of 90 degrees, flip and blur the pairs, and to
            change their contrast, polarity, gain, offset and noise.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        size: int,
        seed: int,
        patch_size: int = 26,
        shifts: str = "nine",
        larger_share: float = 0.15,
        augment: bool = True,
    ) -> None:
        if shifts not in SHIFT_SETS:
            raise ValueError(f"shifts must be one of {', '.join(SHIFT_SETS)}, got {shifts!r}")
        if not 0 <= larger_share <= 1:
            raise ValueError(f"larger_share must be between 0 and 1, got {larger_share}")
        self.crop_size = patch_size + 2 * MAX_DISPLACEMENT
        self.images = [image for image in images if min(image.shape) >= self.crop_size]
        if not self.images:
            raise ValueError(
                f"expected an image of at least {self.crop_size}x{self.crop_size} pixels, got none"
            )
        super().__init__(size, seed)
        self.patch_size = patch_size
        self.shifts, self.larger_share, self.augment = shifts, larger_share, augment

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        shift, (dx, dy) = self._sample_shift(rng)
        crop = self._sample_crop(rng)
        if self.augment:
            crop = _augment_crop(crop, rng)
        displacement = np.array([dx, dy], np.float32)
        patch0 = self._patch(crop)
        patch1 = self._patch(crop, dx, dy)
        if shift == LARGER and rng.random() < UNRELATED_SHARE:
            patch1 = self._patch(self._sample_crop(rng))
            displacement[:] = np.nan
        pair = np.stack([patch0, patch1])
        if self.augment:
            pair = _augment_photometry(pair, rng)
        return {
            "frames": torch.from_numpy(np.ascontiguousarray(pair, np.float32))[None],
            "shift": torch.tensor(shift),
            "displacement": torch.from_numpy(displacement),
        }

    def _sample_shift(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """Return a class and its displacement (dx, dy)."""
        if rng.random() >= self.larger_share:
            allowed = SHIFT_SETS[self.shifts]
            dx, dy = allowed[rng.integers(len(allowed))]
            return SHIFTS.index((dx, dy)), (dx, dy)
        while True:
            dx, dy = (int(d) for d in rng.integers(-MAX_DISPLACEMENT, MAX_DISPLACEMENT + 1, 2))
            if max(abs(dx), abs(dy)) > 1:
                return LARGER, (dx, dy)

    def _sample_crop(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random crop of a random image, large enough for every displacement."""
        image = self.images[rng.integers(len(self.images))]
        y, x = (int(rng.integers(0, side - self.crop_size + 1)) for side in image.shape)
        return image[y : y + self.crop_size, x : x + self.crop_size]

    def _patch(self, crop: np.ndarray, dx: int = 0, dy: int = 0) -> np.ndarray:
        """Return the central patch, its content displaced by (dx, dy)."""
        y, x = MAX_DISPLACEMENT - dy, MAX_DISPLACEMENT - dx
        return crop[y : y + self.patch_size, x : x + self.patch_size]


def _augment_crop(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate by a multiple of 90 degrees, flip, sometimes blur: the same for both patches."""
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < BLUR_SHARE:
        crop = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), rng.uniform(0.3, 1.3))
    return crop


def _augment_photometry(pair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change contrast and polarity of the pair; gain and offset of patch 1; noise of each patch."""
    mean, deviation = pair[0].mean(), pair[0].std() + 1e-6
    contrast = np.exp(rng.uniform(*np.log(CONTRAST))) / 255
    gain = min(contrast / deviation, MAX_GAIN) * rng.choice([-1, 1])
    pair = (pair - mean) * gain + rng.uniform(0.2, 0.8)
    pair[1] = pair[1] * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03)
    if rng.random() < 0.85:
        sigma = np.exp(rng.uniform(*np.log(NOISE))) / 255
        pair = pair + rng.normal(0, sigma, pair.shape)
    if rng.random() < 0.5:
        pair = np.round(pair * 255) / 255  # quantised as by an 8-bit camera
    return pair
