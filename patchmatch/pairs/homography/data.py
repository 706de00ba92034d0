"""Pairs that make themselves: two views of one picture, with the exact homography between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.ops.homography import homography_of_corners, image_corners, warp_points
from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive
from patchmatch.synthetic.image_source import PhotoDataModule
from patchmatch.synthetic.photographs import benchmark_photographs, non_benchmark_photographs
from patchmatch.synthetic.photometry import jitter_photometry, occlude

VALIDATED = 4  # every fourth of the photographs that may be learned from is validated on
BENT = 0.25  # of the side: corners that move farther may turn an image inside out


class HomographyBatch(TypedDict):
    """Image pairs with exact ground truth."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    homography: Tensor  #: (B, 3, 3) float64, takes points of image 0 to image 1
    valid: Tensor  #: (B, H, W) bool: what the pixel of image 0 shows is seen in image 1 as well


@dataclass(frozen=True)
class Warp:
    """How far image 1 may differ from image 0.

    Attributes:
        corner_shift: How far the corners move in x and in y at most, as a share of the side.
        turn: Largest rotation in degrees.
        zoom: Largest change of scale, in octaves.
        disturbed: How likely each disturbance is, see ``jitter_photometry``; and an occluder
            in either image. None leaves the views clean.
    """

    corner_shift: float = 0.25
    turn: float = 0.0
    zoom: float = 0.0
    disturbed: float | None = 0.3

    def __post_init__(self) -> None:
        """Refuse what would fold an image."""
        if not 0 <= self.corner_shift <= BENT:
            raise ValueError(f"corner_shift must lie between 0 and {BENT}, got {self.corner_shift}")
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn must lie between 0 and 180 degrees, got {self.turn}")
        if not 0 <= self.zoom <= 2:
            raise ValueError(f"zoom must lie between 0 and 2 octaves, got {self.zoom}")
        if self.disturbed is not None and not 0 <= self.disturbed <= 1:
            raise ValueError(f"disturbed must lie between 0 and 1, got {self.disturbed}")

    def draw(self, side: int, rng: np.random.Generator) -> np.ndarray:
        """Draw a homography, (3, 3) float64: corners that move, a turn, a change of scale.

        Args:
            side: Of either image in pixels.
            rng: Where the chance comes from.
        """
        corners, middle = image_corners(side, side).numpy(), (side - 1) / 2
        moved = corners + rng.uniform(-1, 1, (4, 2)) * self.corner_shift * side
        turn = np.radians(rng.uniform(-1, 1) * self.turn)
        zoom = 2 ** (rng.uniform(-1, 1) * self.zoom)
        moved = (moved - middle) @ (zoom * rotation(turn)).T + middle
        return homography_of_corners(torch.from_numpy(corners), torch.from_numpy(moved)).numpy()


@dataclass(frozen=True)
class WarpedPair:
    """Two views of a picture.

    Attributes:
        images: Both, (side, side, 3) float32 RGB in [0, 1].
        homography: (3, 3), takes points of image 0 to image 1.
        valid: (side, side) bool: what the pixel of image 0 shows is seen in image 1 as well.
        shown: Where either image shows the picture and no occluder, (side, side) bool.
        picture: Number of the picture.
        placing: (3, 3), takes points of image 0 to the picture, turned and mirrored.
    """

    images: tuple[np.ndarray, np.ndarray]
    homography: np.ndarray
    valid: np.ndarray
    shown: tuple[np.ndarray, np.ndarray]
    picture: int
    placing: np.ndarray


class HomographyPairs(SyntheticDataset):
    """Views of pictures; pair ``(epoch, i)`` depends on the seed and its index alone.

    Both views are resampled, each by a transformation of its own, so that neither is sharper than
    the other.

    Args:
        pictures: (H, W, 3) uint8 RGB.
        size: Number of pairs.
        seed: Seed of the pairs.
        side: Side of an image in pixels.
        warp: How far image 1 may differ.
    """

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        size: int,
        seed: int,
        side: int = 128,
        warp: Warp | None = None,
    ) -> None:
        super().__init__(size, seed)
        self.pictures, self.side, self.warp = list(pictures), side, warp or Warp()

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a pair."""
        pair = self.pair(rng)
        image0, image1 = (torch.from_numpy(image).movedim(-1, 0) for image in pair.images)
        return {
            "image0": image0.contiguous(),
            "image1": image1.contiguous(),
            "homography": torch.from_numpy(pair.homography),
            "valid": torch.from_numpy(pair.valid),
        }

    def pair(self, rng: np.random.Generator) -> WarpedPair:
        """Return a pair as arrays."""
        number = int(rng.integers(len(self.pictures)))
        homography = self.warp.draw(self.side, rng)
        images, placing = view_pair(self.pictures[number], homography, self.side, rng)
        shown = [np.ones((self.side, self.side), bool) for _ in images]
        share = self.warp.disturbed
        if share is not None:
            for i in range(2):
                if rng.random() < share:
                    other = self.pictures[int(rng.integers(len(self.pictures)))]
                    filling = cv2.resize(other, (self.side, self.side)).astype(np.float32) / 255
                    images[i], shown[i] = occlude(images[i], filling, rng)
                images[i] = jitter_photometry(images[i], share, rng)
        valid = shown[0] & seen_in(shown[1], homography)
        return WarpedPair(
            (images[0], images[1]), homography, valid, (shown[0], shown[1]), number, placing
        )


class WarpedImages(PhotoDataModule):
    """Image pairs made from pictures by random homographies, light, noise, blur and occlusion.

    The pictures are split, not the pairs: what is validated or tested on was never trained on. Of
    the photographs, those that the synthetic benchmark matches (``dev/benchmark_match.py``) are
    the test set.

    Args:
        source: ``photographs`` (those inside scikit-image, scikit-learn and matplotlib, as far as
            they are installed; heaps of digits if they are not), ``embedded`` or ``mnist`` (heaps
            of digits), or a folder of any images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs in an epoch of training; every epoch makes fresh ones.
        eval_pairs: Pairs in the validation and in the test set.
        canvases: Heaps composed of the training digits, a fifth of it for each other set; where
            the source is ``photographs``, only the training set has them, beside its pictures.
        side: Side of an image in pixels.
        corner_shift: How far the corners move in x and in y at most, as a share of the side.
        turn: Largest rotation in degrees.
        zoom: Largest change of scale, in octaves.
        disturbed: How likely each disturbance is: gain with gamma, tint, shadow, blur, strong
            noise, and an occluder; null leaves the views clean.
        batch_size: Pairs in a batch.
        num_workers: Processes that make pairs; 0 makes them in the main process.
        seed: Seed of canvases and pairs; the same pairs whatever the number of workers.
    """

    batch_type = HomographyBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 4096,
        eval_pairs: int = 256,
        canvases: int = 4,
        side: int = 128,
        corner_shift: float = 0.25,
        turn: float = 0.0,
        zoom: float = 0.0,
        disturbed: float | None = 0.3,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(
            train_pairs=train_pairs, eval_pairs=eval_pairs, canvases=canvases, batch_size=batch_size
        )
        if side < 32:
            raise ValueError(f"side must be at least 32 pixels, got {side}")
        sizes = (train_pairs, eval_pairs)
        super().__init__(source, data_dir, sizes, canvases, batch_size, num_workers, seed)
        self.side, self.warp = side, Warp(corner_shift, turn, zoom, disturbed)

    def _make(self, split: str) -> Dataset[Any]:
        return self._image_pairs(split)

    def _image_pairs(self, split: str) -> HomographyPairs:
        """Return the pairs of images of a split."""
        pictures = self._split_images(split)
        return HomographyPairs(pictures, self.sizes[split], self._seed(split), self.side, self.warp)

    def _bundled_photographs(self, split: str) -> list[Path]:
        paths = non_benchmark_photographs()
        if len(paths) < VALIDATED or not benchmark_photographs():
            return []
        if split == "test":
            return benchmark_photographs()
        return [p for i, p in enumerate(paths) if (i % VALIDATED == 2) == (split == "val")]

    def _split_images(self, split: str) -> list[np.ndarray]:
        pictures = super()._split_images(split)
        if self.source == "photographs" and split == "train" and self._bundled_photographs(split):
            pictures += self._dead_leaves_rgb(split)
        return pictures


def view_pair(
    picture: np.ndarray, homography: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return two views of a random place of a picture, (side, side, 3) float32 in [0, 1].

    Beyond its border the picture is mirrored, in both views alike.

    Args:
        picture: (H, W, 3) uint8.
        homography: Takes points of image 0 to image 1.
        side: Of the views in pixels.
        rng: Where the chance comes from.

    Returns:
        Both views, and (3, 3) from points of image 0 to the picture, turned and mirrored.
    """
    picture, _, matrix, centre = sample_crop(picture, side, rng)
    placing = np.eye(3)
    placing[:2, :2], placing[:2, 2] = matrix, centre - matrix @ np.full(2, (side - 1) / 2)
    views = [
        _view(picture, place, side) for place in (placing, placing @ np.linalg.inv(homography))
    ]
    return views, placing


def seen_in(shown: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Tell which pixels a homography takes to pixels of image 1 that are shown.

    Args:
        shown: (side, side) bool, of image 1; image 0 is as large.
        homography: Takes points of image 0 to image 1.
    """
    height, width = shown.shape
    x, y = np.moveaxis(_moved(homography, height, width), -1, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    column = np.rint(x).clip(0, width - 1).astype(int)
    row = np.rint(y).clip(0, height - 1).astype(int)
    return inside & shown[row, column]


def _view(picture: np.ndarray, placing: np.ndarray, side: int) -> np.ndarray:
    """Return what a view placed by ``placing`` shows, smoothed where it has fewer pixels."""
    grid = _moved(placing, side, side)
    middle = side // 2
    across = grid[middle, middle + 1] - grid[middle, middle]
    down = grid[middle + 1, middle] - grid[middle, middle]
    scale = np.sqrt(abs(across[0] * down[1] - across[1] * down[0]))
    return sample_bicubic(antialias(picture, scale), grid)


def _moved(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return where a homography takes each pixel, (H, W, 2) as x and y."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))
    return warp_points(torch.from_numpy(matrix), grid.flatten(0, 1)).view_as(grid).numpy()
