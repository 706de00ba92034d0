"""Pairs that make themselves: two crops of one canvas, a known shift apart."""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.shift.ops import SHIFTS
from patchmatch.synthetic.dataset import SyntheticDataset

REACH = 6  # pixels: the longest displacement of a pair called larger
LARGER = len(SHIFTS)  # its class
UNRELATED_SHARE = 1 / 3  # of the larger pairs show two different places
SHIFT_SETS = {
    "nine": SHIFTS,  # the full 3x3 neighbourhood
    "four": ((0, -1), (-1, 0), (1, 0), (0, 1)),  # one pixel along an axis
}
#: Grey levels of 255. Contrast is the standard deviation of the patch before the noise.
CONTRAST, NOISE, MAX_STRETCH = (4.0, 70.0), (0.5, 12.0), 6.0
BLUR_SHARE = 0.1


class PairBatch(TypedDict):
    """Patch pairs with exact ground truth."""

    frames: Tensor  #: (B, 1, 2, H, W) float32 gray; time is the depth axis
    shift: Tensor  #: (B,) long: index into ``ops.SHIFTS``, or their number for ``larger``
    displacement: Tensor  #: (B, 2) float, dx and dy in pixels; NaN where the content is unrelated


class ShiftedPairs(SyntheticDataset):
    """Pairs of patches cut out of canvases.

    Pair ``i`` (or ``(epoch, i)``) depends on the canvases, the seed and its index alone: neither
    the number of workers nor the order of reading changes it.

    Args:
        canvases: (H, W) float32 pictures in [0, 1].
        size: Number of pairs.
        seed: Seed of the pairs.
        patch_size: Side of a patch in pixels.
        shifts: ``nine`` or ``four``, see ``SHIFT_SETS``.
        larger_share: Share of pairs that moved by more than one pixel or are unrelated.
        augment: Whether to turn, mirror, blur, invert, dim and disturb the pairs; otherwise they
            are cut from the canvas as it is.
    """

    def __init__(
        self,
        canvases: Sequence[np.ndarray],
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
        need = patch_size + 2 * REACH
        self.canvases = [c for c in canvases if min(c.shape) >= need]
        if not self.canvases:
            raise ValueError(f"pairs need a picture of at least {need}x{need} pixels, got none")
        super().__init__(size, seed)
        self.patch_size = patch_size
        self.shifts, self.larger_share, self.augment = shifts, larger_share, augment

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        shift, (dx, dy) = self._draw_shift(rng)
        crop, side = self._crop(rng), self.patch_size
        if self.augment:
            crop = _look(crop, rng)
        patch0 = crop[REACH : REACH + side, REACH : REACH + side]
        # image0[y, x] = image1[y + dy, x + dx]
        top, left = REACH - dy, REACH - dx
        patch1 = crop[top : top + side, left : left + side]
        displacement = np.array([dx, dy], np.float32)
        if shift == LARGER and rng.random() < UNRELATED_SHARE:
            patch1 = self._crop(rng)[REACH : REACH + side, REACH : REACH + side]
            displacement[:] = np.nan
        pair = np.stack([patch0, patch1])
        if self.augment:
            pair = _disturb(pair, rng)
        return {
            "frames": torch.from_numpy(np.ascontiguousarray(pair, np.float32))[None],
            "shift": torch.tensor(shift),
            "displacement": torch.from_numpy(displacement),
        }

    def _draw_shift(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        if rng.random() >= self.larger_share:
            allowed = SHIFT_SETS[self.shifts]
            dx, dy = allowed[rng.integers(len(allowed))]
            return SHIFTS.index((dx, dy)), (dx, dy)
        while True:
            dx, dy = (int(d) for d in rng.integers(-REACH, REACH + 1, 2))
            if max(abs(dx), abs(dy)) > 1:
                return LARGER, (dx, dy)

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random piece of a random canvas, large enough for every displacement."""
        canvas = self.canvases[rng.integers(len(self.canvases))]
        need = self.patch_size + 2 * REACH
        y, x = (int(rng.integers(0, side - need + 1)) for side in canvas.shape)
        return canvas[y : y + need, x : x + need]


def _look(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by quarters and mirror, sometimes blur: what happens to both patches alike."""
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < BLUR_SHARE:
        crop = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), rng.uniform(0.3, 1.3))
    return crop


def _disturb(pair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set contrast and polarity of the pair; then gain, offset and noise of each patch alone."""
    mean, deviation = pair[0].mean(), pair[0].std() + 1e-6
    contrast = np.exp(rng.uniform(*np.log(CONTRAST))) / 255
    stretch = min(contrast / deviation, MAX_STRETCH) * rng.choice([-1, 1])
    pair = (pair - mean) * stretch + rng.uniform(0.2, 0.8)
    pair[1] = pair[1] * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03)
    if rng.random() < 0.85:
        sigma = np.exp(rng.uniform(*np.log(NOISE))) / 255
        pair = pair + rng.normal(0, sigma, pair.shape)
    if rng.random() < 0.5:
        pair = np.round(pair * 255) / 255  # as a camera stores it
    return pair
