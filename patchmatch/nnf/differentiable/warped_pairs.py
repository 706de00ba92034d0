"""Pairs that make themselves: two views of one picture, bent and disturbed, with the exact flow."""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive
from patchmatch.synthetic.image_source import PhotoDataModule

KNOTS = 4  # the bending is drawn at 4x4 places of an image and smooth between them
BEND = 0.03  # of the side: standard deviation of the bending at a knot
TURN = 0.08  # standard deviation of a rotation in radians, and of the logarithm of a scale
GAIN, OFFSET = (0.6, 1.6), 0.08
BLUR = (0.4, 1.6)  # pixels
NOISE = 12.0  # grey levels of 255


class WarpedBatch(TypedDict):
    """Image pairs with exact ground truth."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    flow: Tensor  #: (B, 2, H, W) float32, dx and dy in pixels, on the grid of image 0
    valid: Tensor  #: (B, H, W) bool: what the pixel shows lies inside image 1


class WarpedPairs(SyntheticDataset):
    """Views of pictures; pair ``(epoch, i)`` depends on the seed and its index alone.

    Both views are resampled, each by a transformation of its own, so that neither is sharper than
    the other. The flow is exact: it is drawn first, and image 0 is read through it.

    Args:
        pictures: (H, W, 3) uint8 RGB.
        size: Number of pairs.
        seed: Seed of the pairs.
        side: Side of an image in pixels.
        max_shift: Longest displacement of the middle of an image in x and in y, in pixels.
        disturbed: Share of pairs with gain and offset, of those with blur, and of those with
            strong noise; the others have weak noise. None leaves all pairs as they are.
    """

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        size: int,
        seed: int,
        side: int = 96,
        max_shift: float = 16.0,
        disturbed: float | None = 0.6,
    ) -> None:
        super().__init__(size, seed)
        self.pictures = list(pictures)
        self.side, self.max_shift, self.disturbed = side, max_shift, disturbed

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        flow = draw_flow(self.side, self.max_shift, rng)
        image0, image1 = view_pair(picture, flow, rng)
        if self.disturbed is not None:
            image0, image1 = disturb(image0, image1, self.disturbed, rng)
        valid = lands_inside(flow)
        return {
            "image0": torch.from_numpy(image0).movedim(-1, 0).contiguous(),
            "image1": torch.from_numpy(image1).movedim(-1, 0).contiguous(),
            "flow": torch.from_numpy(flow).movedim(-1, 0).contiguous(),
            "valid": torch.from_numpy(valid),
        }


class WarpedPhotographs(PhotoDataModule):
    """Image pairs made from photographs by smooth warps, noise, gain and blur; the flow is exact.

    The photographs are split, not the pairs: what is validated or tested on was never trained on.

    Args:
        source: ``photographs`` (those inside scikit-image and scikit-learn, as far as they are
            installed; heaps of digits if they are not), ``embedded`` or ``mnist`` (heaps of
            digits), or a folder of any images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs in an epoch of training; every epoch makes fresh ones.
        eval_pairs: Pairs in the validation and in the test set.
        canvases: Pictures composed of the training digits, a fifth of it for each other set.
        side: Side of an image in pixels.
        max_shift: Longest displacement of the middle of an image in x and in y, in pixels.
        batch_size: Pairs in a batch.
        num_workers: Processes that make pairs; 0 makes them in the main process.
        seed: Seed of canvases and pairs; the same pairs whatever the number of workers.
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
        pictures = self._split_images(split)
        return WarpedPairs(
            pictures, self.sizes[split], self._seed(split), self.side, self.max_shift
        )


def draw_flow(side: int, max_shift: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth flow, (side, side, 2) float32: a shift, a turn, a change of size, a bending."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    away = np.stack([x, y], axis=-1) - (side - 1) / 2
    turn, grow = rng.normal(0, TURN, 2)
    change = rotation(turn) * np.exp(grow) - np.eye(2)
    knots = rng.normal(0, BEND * side, (KNOTS, KNOTS, 2)).astype(np.float32)
    bending = cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    shift = rng.uniform(-max_shift, max_shift, 2)
    return (away @ change.T + bending + shift).astype(np.float32)


def view_pair(
    picture: np.ndarray, flow: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of a random place of a picture, (side, side, 3) float32 in [0, 1].

    ``image0[y, x]`` shows what lies at (x + dx, y + dy) of image 1. Beyond its border the picture
    is mirrored, in both views alike.

    Args:
        picture: (H, W, 3) uint8.
        flow: (side, side, 2), dx and dy on the grid of image 0.
        rng: Where the chance comes from.
    """
    side = len(flow)
    picture, scale, matrix, centre = sample_crop(picture, side, rng)
    picture = antialias(picture, scale)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    grid1 = np.stack([x, y], axis=-1)
    view0, view1 = (
        sample_bicubic(picture, (pixels - (side - 1) / 2) @ matrix.T + centre)
        for pixels in (grid1 + flow, grid1)
    )
    return view0, view1


def disturb(
    image0: np.ndarray, image1: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the views as two cameras might give them: gain and offset, blur, noise.

    Args:
        image0: (H, W, 3) float32 in [0, 1].
        image1: The other view.
        share: Share of pairs with gain and offset, of those with blur, and of those with strong
            noise; the others have weak noise.
        rng: Where the chance comes from.
    """
    images = [image0, image1]
    if rng.random() < share:
        which = int(rng.integers(2))
        gain = np.exp(rng.uniform(*np.log(GAIN)))
        images[which] = images[which] * gain + rng.uniform(-OFFSET, OFFSET)
    if rng.random() < share:
        sigma = rng.uniform(*BLUR)
        which = int(rng.integers(3))
        for i in (0, 1) if which == 2 else (which,):
            images[i] = cv2.GaussianBlur(images[i], (0, 0), sigma)
    noise = (rng.uniform(2, NOISE) if rng.random() < share else rng.uniform(0, 2)) / 255
    disturbed = [image + rng.normal(0, noise, image.shape) for image in images]
    return disturbed[0].clip(0, 1).astype(np.float32), disturbed[1].clip(0, 1).astype(np.float32)


def lands_inside(flow: np.ndarray) -> np.ndarray:
    """Tell which pixels a flow takes to a place between the pixels of an image of that size."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[..., 0], y + flow[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
