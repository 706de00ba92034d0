"""Synthetic image pairs with exact flow: two smoothly warped, degraded views of one image."""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive
from patchmatch.synthetic.image_source import PhotoDataModule

KNOTS = 4  # a random displacement at each of 4x4 knots, interpolated smoothly in between
KNOT_SIGMA = 0.03  # of the side: standard deviation of the displacement of a knot
AFFINE_SIGMA = 0.08  # standard deviation of the rotation in radians, and of the log scale
GAIN, OFFSET = (0.6, 1.6), 0.08
BLUR = (0.4, 1.6)  # pixels: standard deviation
MAX_NOISE, MAX_WEAK_NOISE = 12.0, 2.0  # of 255: largest standard deviations


class WarpedBatch(TypedDict):
    """Image pairs with exact ground truth."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    flow: Tensor  #: (B, 2, H, W) float32, dx and dy in pixels, on the grid of image 0
    valid: Tensor  #: (B, H, W) bool, where the flow leads inside image 1


class WarpedPairs(SyntheticDataset):
    """Pairs of views of images; pair ``(epoch, i)`` depends on the seed and its index only.

    Both views are resampled, so that both are equally sharp. The flow is exact: it is sampled
    first, and image 0 is resampled through it.

    Args:
        sources: The images to crop, (H, W, 3) uint8 RGB.
        size: Number of pairs.
        seed: Seed of the pairs.
        side: Side of a view in pixels.
        max_shift: Largest displacement of the centre of a view in x and in y, in pixels.
        degraded: Probability of gain and offset, of blur, and of strong noise; pairs without
            strong noise have weak noise. None leaves all pairs clean.
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        size: int,
        seed: int,
        side: int = 96,
        max_shift: float = 16.0,
        degraded: float | None = 0.6,
    ) -> None:
        super().__init__(size, seed)
        self.sources = list(sources)
        self.side, self.max_shift, self.degraded = side, max_shift, degraded

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        source = self.sources[int(rng.integers(len(self.sources)))]
        flow = sample_smooth_flow(self.side, self.max_shift, rng)
        image0, image1 = render_views(source, flow, rng)
        if self.degraded is not None:
            image0, image1 = degrade_views(image0, image1, self.degraded, rng)
        return {
            "image0": torch.from_numpy(image0).movedim(-1, 0).contiguous(),
            "image1": torch.from_numpy(image1).movedim(-1, 0).contiguous(),
            "flow": torch.from_numpy(flow).movedim(-1, 0).contiguous(),
            "valid": torch.from_numpy(leads_inside(flow)),
        }


class WarpedPhotographs(PhotoDataModule):
    """Synthetic pairs from photographs: smooth warps with exact flow, noise, gain, offset and blur.

    Training, validation and test use different photographs.

    Args:
        source: ``photographs`` (those bundled with scikit-image and scikit-learn, or dead-leaves
            images of digits if neither is installed), ``embedded`` or ``mnist`` (dead-leaves
            images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Training pairs in an epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images for training; a fifth of it for each other set.
        side: Side of an image in pixels.
        max_shift: Largest displacement of the centre of an image in x and in y, in pixels.
        batch_size: Pairs in a batch.
        num_workers: Processes that generate pairs; 0 uses the main process.
        seed: Seed of images and pairs; the number of workers does not change them.
    """

    batch_type = WarpedBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 480,
        eval_pairs: int = 40,
        canvases: int = 200,
        side: int = 96,
        max_shift: float = 16.0,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(
            train_pairs=train_pairs, eval_pairs=eval_pairs, canvases=canvases, batch_size=batch_size
        )
        if side < 32:
            raise ValueError(f"side must be at least 32 pixels, got {side}")
        if not 0 <= max_shift <= side / 2:
            raise ValueError(
                f"max_shift must lie between 0 and half of side, {side / 2:g}, got {max_shift}"
            )
        sizes = (train_pairs, eval_pairs)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.side, self.max_shift = side, max_shift

    def _make(self, split: str) -> WarpedPairs:
        return WarpedPairs(
            self._split_images(split),
            self.sizes[split],
            self._seed(split),
            self.side,
            self.max_shift,
        )


def sample_smooth_flow(side: int, max_shift: float, rng: np.random.Generator) -> np.ndarray:
    """Sample a smooth flow, (side, side, 2) float32: translation, rotation, scale and bending."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    from_centre = np.stack([x, y], axis=-1) - (side - 1) / 2
    angle, log_scale = rng.normal(0, AFFINE_SIGMA, 2)
    matrix = rotation(angle) * np.exp(log_scale) - np.eye(2)
    knots = rng.normal(0, KNOT_SIGMA * side, (KNOTS, KNOTS, 2)).astype(np.float32)
    bending = cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    shift = rng.uniform(-max_shift, max_shift, 2)
    return (from_centre @ matrix.T + bending + shift).astype(np.float32)


def render_views(
    source: np.ndarray, flow: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of a random crop, each (side, side, 3) float32 in [0, 1].

    ``view0[y, x]`` shows what is at (x + dx, y + dy) in view 1. The source is mirrored beyond its
    border.

    Args:
        source: (H, W, 3) uint8.
        flow: (side, side, 2), dx and dy on the grid of view 0.
        rng: Random number generator.
    """
    side = len(flow)
    source, scale, matrix, centre = sample_crop(source, side, rng)
    source = antialias(source, scale)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    grid1 = np.stack([x, y], axis=-1)
    view0, view1 = (
        sample_bicubic(source, (points - (side - 1) / 2) @ matrix.T + centre)
        for points in (grid1 + flow, grid1)
    )
    return view0, view1


def degrade_views(
    image0: np.ndarray, image1: np.ndarray, probability: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the views with the differences between two cameras: gain and offset, blur, noise.

    Args:
        image0: (H, W, 3) float32 in [0, 1].
        image1: The other view.
        probability: Of gain and offset, of blur, and of strong noise in place of weak noise.
        rng: Random number generator.
    """
    images = [image0, image1]
    if rng.random() < probability:
        i = int(rng.integers(2))
        gain = np.exp(rng.uniform(*np.log(GAIN)))
        images[i] = images[i] * gain + rng.uniform(-OFFSET, OFFSET)
    if rng.random() < probability:
        sigma = rng.uniform(*BLUR)
        which = int(rng.integers(3))
        for i in (0, 1) if which == 2 else (which,):
            images[i] = cv2.GaussianBlur(images[i], (0, 0), sigma)
    is_strong = rng.random() < probability
    levels = (MAX_WEAK_NOISE, MAX_NOISE) if is_strong else (0, MAX_WEAK_NOISE)
    noise = rng.uniform(*levels) / 255
    noisy = [image + rng.normal(0, noise, image.shape) for image in images]
    return noisy[0].clip(0, 1).astype(np.float32), noisy[1].clip(0, 1).astype(np.float32)


def leads_inside(flow: np.ndarray) -> np.ndarray:
    """Return where a flow (H, W, 2) leads inside an image of the same size, (H, W) bool."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[..., 0], y + flow[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
