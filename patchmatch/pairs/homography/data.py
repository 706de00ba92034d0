"""Synthetic training pairs: two views of an image with the exact homography between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.ops.homography import get_perspective_transform, image_corners, warp_points
from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive
from patchmatch.synthetic.image_source import PhotoDataModule
from patchmatch.synthetic.photographs import benchmark_photographs, non_benchmark_photographs
from patchmatch.synthetic.photometry import disturb_views

VAL_EVERY = 4  # every fourth bundled photograph is for validation
MAX_CORNER_SHIFT = 0.25  # of the side: larger displacements may fold an image


class HomographyBatch(TypedDict):
    """Image pairs with exact ground truth."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    homography: Tensor  #: (B, 3, 3) float64, maps points of image 0 to image 1
    valid: Tensor  #: (B, H, W) bool: the pixel of image 0 is visible in image 1


@dataclass(frozen=True, kw_only=True)
class WarpRange:
    """Range of the random geometric and photometric changes between image 0 and image 1.

    Attributes:
        corner_shift: Maximum displacement of the corners in x and in y, as a fraction of the side.
        turn: Maximum rotation in degrees.
        zoom: Maximum change of scale in octaves.
        disturbed: Probability of each photometric change (``jitter_photometry``) and of an
            occluder, in either image; None disables them.
    """

    corner_shift: float = 0.25
    turn: float = 0.0
    zoom: float = 0.0
    disturbed: float | None = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.corner_shift <= MAX_CORNER_SHIFT:
            raise ValueError(
                f"corner_shift must be between 0 and {MAX_CORNER_SHIFT}, got {self.corner_shift}"
            )
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn must be between 0 and 180 degrees, got {self.turn}")
        if not 0 <= self.zoom <= 2:
            raise ValueError(f"zoom must be between 0 and 2 octaves, got {self.zoom}")
        if self.disturbed is not None and not 0 <= self.disturbed <= 1:
            raise ValueError(f"disturbed must be between 0 and 1, got {self.disturbed}")

    def sample_homography(self, side: int, rng: np.random.Generator) -> np.ndarray:
        """Return a random homography, (3, 3) float64: corner offsets, then rotation and scale.

        Args:
            side: Side of both images in pixels.
            rng: Source of randomness.
        """
        corners, centre = image_corners(side, side).numpy(), (side - 1) / 2
        moved = corners + rng.uniform(-1, 1, (4, 2)) * self.corner_shift * side
        angle = np.radians(rng.uniform(-1, 1) * self.turn)
        scale = 2 ** (rng.uniform(-1, 1) * self.zoom)
        moved = (moved - centre) @ (scale * rotation(angle)).T + centre
        return get_perspective_transform(torch.from_numpy(corners), torch.from_numpy(moved)).numpy()


@dataclass(frozen=True, kw_only=True)
class HomographyPair:
    """Two views of a source image.

    Attributes:
        images: Both views, (side, side, 3) float32 RGB in [0, 1].
        homography: (3, 3), maps points of image 0 to image 1.
        valid: (side, side) bool: the pixel of image 0 is visible in image 1.
        visible: (side, side) bool of either image: the pixel is not covered by an occluder.
    """

    images: tuple[np.ndarray, np.ndarray]
    homography: np.ndarray
    valid: np.ndarray
    visible: tuple[np.ndarray, np.ndarray]


class HomographyDataset(SyntheticDataset):
    """Pairs of views; pair ``(epoch, i)`` depends only on its index and the seed.

    Both views are resampled, so that neither is sharper than the other.

    Args:
        sources: Source images, (H, W, 3) uint8 RGB.
        size: Number of pairs.
        seed: Seed of the pairs.
        side: Side of a view in pixels.
        warp: Range of the differences between the views.
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        size: int,
        seed: int,
        side: int = 128,
        warp: WarpRange | None = None,
    ) -> None:
        super().__init__(size, seed)
        self.sources, self.side, self.warp = list(sources), side, warp or WarpRange()

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a random pair as tensors, see ``HomographyBatch``."""
        pair = self.sample_pair(rng)
        image0, image1 = (torch.from_numpy(image).movedim(-1, 0) for image in pair.images)
        return {
            "image0": image0.contiguous(),
            "image1": image1.contiguous(),
            "homography": torch.from_numpy(pair.homography),
            "valid": torch.from_numpy(pair.valid),
        }

    def sample_pair(self, rng: np.random.Generator) -> HomographyPair:
        """Return a random pair as arrays."""
        source = self.sources[rng.integers(len(self.sources))]
        homography = self.warp.sample_homography(self.side, rng)
        images = sample_views(source, homography, self.side, rng)
        images, visible = disturb_views(images, self.sources, self.warp.disturbed, rng)
        return HomographyPair(
            images=(images[0], images[1]),
            homography=homography,
            valid=visible[0] & visible_after_warp(visible[1], homography),
            visible=(visible[0], visible[1]),
        )


class WarpedImages(PhotoDataModule):
    """Image pairs generated by random homographies, photometric changes and occlusion.

    The source images are split, not the pairs: validation and test images are never used for
    training. Of the bundled photographs, those of the benchmark (``dev/benchmark_match.py``) are
    the test set.

    Args:
        source: ``photographs`` (those bundled with scikit-image, scikit-learn and matplotlib, where
            installed; otherwise dead-leaves images of digits), ``embedded`` or ``mnist``
            (dead-leaves images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs per training epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images composed of the training digits; a fifth as many for
            validation and for test. With ``photographs`` only the training set has them, in
            addition to its photographs.
        side: Side of an image in pixels.
        corner_shift: Maximum displacement of the corners in x and in y, as a fraction of the side.
        turn: Maximum rotation in degrees.
        zoom: Maximum change of scale in octaves.
        disturbed: Probability of each photometric change (gain with gamma, tint, shadow, blur,
            strong noise) and of an occluder; null disables them.
        batch_size: Pairs per batch.
        num_workers: Worker processes that generate pairs; 0 uses the main process.
        seed: Seed of dead-leaves images and pairs. The pairs do not depend on num_workers.
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
        self.side = side
        self.warp = WarpRange(corner_shift=corner_shift, turn=turn, zoom=zoom, disturbed=disturbed)

    def _make(self, split: str) -> Dataset[Any]:
        return self._image_pairs(split)

    def _image_pairs(self, split: str) -> HomographyDataset:
        sources = self._split_images(split)
        size, seed = self.sizes[split], self._seed(split)
        return HomographyDataset(sources, size, seed, self.side, self.warp)

    def _bundled_photographs(self, split: str) -> list[Path]:
        paths = non_benchmark_photographs()
        if len(paths) < VAL_EVERY or not benchmark_photographs():
            return []
        if split == "test":
            return benchmark_photographs()
        return [p for i, p in enumerate(paths) if (i % VAL_EVERY == 2) == (split == "val")]

    def _split_images(self, split: str) -> list[np.ndarray]:
        sources = super()._split_images(split)
        if self.source == "photographs" and split == "train" and self._bundled_photographs(split):
            sources += self._dead_leaves_rgb(split)
        return sources


def sample_views(
    source: np.ndarray, homography: np.ndarray, side: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return two views of a random crop of an image, (side, side, 3) float32 in [0, 1].

    Outside its border the source image is mirrored.

    Args:
        source: (H, W, 3) uint8.
        homography: Maps points of image 0 to image 1.
        side: Side of the views in pixels.
        rng: Source of randomness.
    """
    source, _, matrix, centre = sample_crop(source, side, rng)
    to_source = np.eye(3)
    to_source[:2, :2], to_source[:2, 2] = matrix, centre - matrix @ np.full(2, (side - 1) / 2)
    homographies = (to_source, to_source @ np.linalg.inv(homography))
    return [_render_view(source, view, side) for view in homographies]


def visible_after_warp(visible1: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Return which pixels of image 0 a homography maps to visible pixels of image 1.

    Args:
        visible1: (H, W) bool, of image 1; image 0 has the same size.
        homography: Maps points of image 0 to image 1.
    """
    height, width = visible1.shape
    x, y = np.moveaxis(_warp_grid(homography, height, width), -1, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    column = np.rint(x).clip(0, width - 1).astype(int)
    row = np.rint(y).clip(0, height - 1).astype(int)
    return inside & visible1[row, column]


def _render_view(source: np.ndarray, to_source: np.ndarray, side: int) -> np.ndarray:
    """Sample a view of the source image, antialiased where the view is smaller."""
    grid = _warp_grid(to_source, side, side)
    middle = side // 2
    across = grid[middle, middle + 1] - grid[middle, middle]
    down = grid[middle + 1, middle] - grid[middle, middle]
    scale = np.sqrt(abs(across[0] * down[1] - across[1] * down[0]))
    return sample_bicubic(antialias(source, scale), grid)


def _warp_grid(homography: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the warped position of each pixel, (H, W, 2) as x and y."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))
    return warp_points(torch.from_numpy(homography), grid.flatten(0, 1)).view_as(grid).numpy()
