"""Data module of image pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypedDict

import cv2
import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.core.pair_files import Intrinsics, PairFiles, find_pairs
from patchmatch.io import (
    read_image,
    read_orientation,
    stretch_window,
    to_float,
    to_mask,
)

MIN_SIDE = 16  # pixels; smaller images contain too little to match
LARGE = 8_000_000  # pixels of both images; a larger pair takes minutes on a CPU


class ImagePair(TypedDict):
    """A pair of images as a batch; they may differ in size, but not in the number of channels."""

    index: int  #: position of the pair in the run, whether or not pairs are skipped
    source: str  #: folder or file that lists the pairs
    name: str  #: of the pair, unique within the run and safe in file names
    names: tuple[str, str]  #: file names of the images
    paths: tuple[str, str]  #: files of the images
    image0: Tensor  #: (1, C, H, W) float32 in [0, 1], RGB or gray
    image1: Tensor  #: (1, C, H1, W1)
    valid0: Tensor | None  #: (1, H, W) bool, pixels of image 0 to match; None for all
    valid1: Tensor | None  #: (1, H1, W1) bool, pixels of image 1 that may be matched
    scale: float  #: side of the images divided by that of the files
    sizes: tuple[tuple[int, int], tuple[int, int]]  #: height and width of the upright images
    orientations: tuple[int, int]  #: EXIF orientations of the files, which are applied
    intrinsics: tuple[Intrinsics | None, Intrinsics | None]  #: fx, fy, cx, cy at these sizes
    pairs: list[tuple[int, int]]  #: (0, 1); empty if the pair is skipped
    notes: list[str]  #: a line for each warning about the pair


class ImagePairDataset(Dataset[ImagePair]):
    """Reads image pairs; an unreadable pair is skipped, with the reason in its notes.

    Args:
        files: Files of the pairs.
        source: Folder or file that lists the pairs.
        max_size: Longest side in pixels to which a pair is downscaled; None keeps the size.
        warn_large: Whether to add a note to pairs that are slow to process.
    """

    def __init__(
        self,
        files: Sequence[PairFiles],
        source: str,
        max_size: int | None,
        warn_large: bool = True,
    ) -> None:
        self.files, self.source, self.max_size = list(files), source, max_size
        self.warn_large = warn_large

    @property
    def input_files(self) -> list[Path]:
        """The images and masks."""
        return [path for pair in self.files for path in (*pair.images, *pair.masks) if path]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> ImagePair:
        files = self.files[index]
        notes: list[str] = []
        try:
            images = [read_image(path) for path in files.images]
            window = stretch_window(*images)
            images = [np.atleast_3d(to_float(image, window)) for image in images]
            masks = [None if path is None else _read_mask(path) for path in files.masks]
            orientations = [read_orientation(path) for path in files.images]
        except InputError as error:
            empty = torch.zeros(1, 1, 0, 0)
            return self._batch(index, empty, empty, notes=[f"pair left out: {error}"])
        sizes = [image.shape[:2] for image in images]
        scale = self._scale(images)
        if scale < 1:
            images = [_downscale(image, scale, cv2.INTER_AREA) for image in images]
            masks = [
                None if mask is None else _downscale(mask, scale, cv2.INTER_NEAREST)
                for mask in masks
            ]
            notes.append(
                f"{files.name}: reduced to {100 * scale:.3g}% ({_describe_sizes(images)}) for "
                f"--data.max_size {self.max_size}; results are at the reduced size"
            )
        elif self.warn_large and sum(height * width for height, width in sizes) > LARGE:
            notes.append(
                f"{files.name}: images of {_describe_sizes(images)} pixels take long; "
                "--data.max_size 1000 reduces them"
            )
        channels = [image.shape[2] for image in images]
        if len(set(channels)) > 1:
            notes.append(
                f"{files.images[channels.index(1)]}: is gray, but the other image of the pair is "
                "RGB; used as RGB with three equal channels"
            )
            images = [np.repeat(i, 3, axis=2) if i.shape[2] == 1 else i for i in images]
        image0, image1 = (
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
            for image in images
        )
        valid0, valid1 = (
            None if mask is None else torch.from_numpy(mask[..., 0] > 0.5)[None] for mask in masks
        )
        return self._batch(
            *(index, image0, image1, valid0, valid1),
            scale=scale,
            sizes=sizes,
            orientations=orientations,
            pairs=[(0, 1)],
            notes=notes,
        )

    def _batch(
        self,
        index: int,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
        *,
        scale: float = 1.0,
        sizes: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
        orientations: Sequence[int] = (1, 1),
        pairs: Sequence[tuple[int, int]] = (),
        notes: Sequence[str] = (),
    ) -> ImagePair:
        files = self.files[index]
        return {
            "index": index,
            "source": self.source,
            "name": files.name,
            "names": (files.images[0].name, files.images[1].name),
            "paths": (str(files.images[0]), str(files.images[1])),
            "image0": image0,
            "image1": image1,
            "valid0": valid0,
            "valid1": valid1,
            "scale": scale,
            "sizes": (sizes[0], sizes[1]),
            "orientations": (orientations[0], orientations[1]),
            "intrinsics": files.intrinsics,
            "pairs": list(pairs),
            "notes": list(notes),
        }

    def _scale(self, images: Sequence[np.ndarray]) -> float:
        """Return one factor for both images, which keeps the scale between them."""
        longest = max(max(image.shape[:2]) for image in images)
        return min(1.0, (self.max_size or longest) / longest)


class ImagePairs(PredictionData):
    """Image pairs, to match image 0 with image 1 or to reconstruct it from image 1.

    Args:
        base_dir: Folder with the subfolders image_1 and image_2, whose images are paired in
            natural order (pic_2 before pic_10), or with a pairs.csv with the columns image0 and
            image1, paths relative to the table. The images of a pair may differ in size. Masks,
            white where an image is valid, are in the subfolders mask_1 and mask_2 under the names
            of the images, or in the columns mask0 and mask1; without a mask all pixels are valid.
        max_size: Longest side in pixels to which a pair is downscaled; null keeps the full size.
            Time and memory grow with the number of pixels. Results are at the reduced size.
        num_workers: Worker processes of the data loader; 0 reads in the main process.
    """

    batch_type = ImagePair
    #: Whether to warn about pairs that are slow to process.
    warn_large: ClassVar[bool] = True

    def __init__(
        self, base_dir: str = "data/pairs", max_size: int | None = None, num_workers: int = 0
    ) -> None:
        super().__init__(num_workers)
        if max_size is not None and max_size < MIN_SIDE:
            raise ValueError(f"max_size must be at least {MIN_SIDE} pixels, got {max_size}")
        self.base_dir, self.max_size = base_dir, max_size
        self.dataset: ImagePairDataset | None = None

    def find_pairs(self) -> tuple[list[PairFiles], list[str]]:
        """Return the files of the pairs, and a line for each warning about them."""
        return find_pairs(self.base_dir)

    def setup(self, stage: str) -> None:
        """Find the pairs.

        Raises:
            InputError: If the stage is not predict, or files are missing or wrong.
        """
        if stage != "predict":
            raise InputError(
                f"{type(self).__name__} has no ground truth and supports predict only, not "
                f"{stage}; give another --data"
            )
        files, notes = self.find_pairs()
        for note in notes:
            rank_zero_only(warn)(note)
        self.dataset = ImagePairDataset(files, self.base_dir, self.max_size, self.warn_large)


def _read_mask(path: Path) -> np.ndarray:
    """Return (H, W, 1) float32, 1 where the image is valid and 0 elsewhere, see ``io.to_mask``.

    Raises:
        InputError: If the mask cannot be read or is black.
    """
    mask = to_mask(read_image(path)).astype(np.float32)[..., None]
    if not mask.any():
        raise InputError(f"{path}: the mask is black; make it white where the image is valid")
    return mask


def _downscale(image: np.ndarray, scale: float, interpolation: int) -> np.ndarray:
    """Return (H, W, C) with both sides multiplied by ``scale``."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=interpolation)
    return small if small.ndim == 3 else small[..., None]


def _describe_sizes(images: Sequence[np.ndarray]) -> str:
    return " and ".join(dict.fromkeys(f"{image.shape[1]}x{image.shape[0]}" for image in images))
