"""Pairs of pictures, of which the first is to be found in the second."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.core.pair_files import Intrinsics, PairFiles, find_pairs
from patchmatch.io import read_image, to_gray_float

SMALLEST_SIDE = 16  # pixels to which the longer side may be reduced
LARGE = 8_000_000  # pixels of both pictures from which on a pair takes minutes on a CPU


class ImagePair(TypedDict):
    """Two pictures as a batch; they may differ in size, never in channels."""

    index: int  #: place of the pair in the run's order, whatever was left out or done before
    source: str  #: folder that the run reads
    name: str  #: of the pair, unique within the run and safe in file names
    names: tuple[str, str]  #: file names of the pictures
    paths: tuple[str, str]  #: the files of the pictures
    image0: Tensor  #: (1, C, H, W) float32 in [0, 1], RGB or gray
    image1: Tensor  #: (1, C, H1, W1)
    valid0: Tensor | None  #: (1, H, W) bool, which pixels are to be found; None for all
    valid1: Tensor | None  #: (1, H1, W1) bool, where they may be found
    scale: float  #: side of the pictures over that of the files
    sizes: tuple[tuple[int, int], tuple[int, int]]  #: height and width of the files' pictures
    intrinsics: tuple[Intrinsics | None, Intrinsics | None]  #: fx, fy, cx, cy, of the files
    pairs: list[tuple[int, int]]  #: (0, 1); empty where the pair had to be left out
    notes: list[str]  #: a line for each thing the user should know of the pair


class ImagePairSet(Dataset[ImagePair]):
    """Reads pairs one by one; one that cannot be read is left out, and its notes say why.

    Args:
        files: What to read.
        source: Folder that they come from.
        max_size: Pixels to which the longest side of a pair is reduced; None for none.
        warn_large: Whether a note says of large pictures that they take long.
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

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> ImagePair:
        files = self.files[index]
        notes: list[str] = []
        try:
            pictures = [_as_float(read_image(path)) for path in files.images]
            masks = [None if path is None else _read_mask(path) for path in files.masks]
        except InputError as error:
            empty = torch.zeros(1, 1, 0, 0)
            return self._pair(index, empty, empty, notes=[f"pair left out: {error}"])
        sizes = [picture.shape[:2] for picture in pictures]
        scale = self._scale(pictures)
        if scale < 1:
            pictures = [_reduced(picture, scale, cv2.INTER_AREA) for picture in pictures]
            masks = [
                None if mask is None else _reduced(mask, scale, cv2.INTER_NEAREST) for mask in masks
            ]
            notes.append(
                f"{files.name}: reduced to {100 * scale:.3g}% ({_sizes(pictures)}) for "
                f"--data.max_size {self.max_size}; so are the answers"
            )
        elif (
            self.warn_large
            and sum(picture.shape[0] * picture.shape[1] for picture in pictures) > LARGE
        ):
            notes.append(
                f"{files.name}: pictures of {_sizes(pictures)} pixels take long; --data.max_size "
                "1000 reduces them"
            )
        channels = [picture.shape[2] for picture in pictures]
        if len(set(channels)) > 1:
            notes.append(
                f"{files.images[channels.index(1)]}: is gray and its partner is not; used as RGB "
                "of three equal channels"
            )
            pictures = [np.repeat(p, 3, axis=2) if p.shape[2] == 1 else p for p in pictures]
        image0, image1 = (
            torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
            for picture in pictures
        )
        valid0, valid1 = (
            None if mask is None else torch.from_numpy(mask[..., 0] > 0.5)[None] for mask in masks
        )
        return self._pair(index, image0, image1, valid0, valid1, scale, sizes, [(0, 1)], notes)

    def _pair(
        self,
        index: int,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
        scale: float = 1.0,
        sizes: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
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
            "intrinsics": files.intrinsics,
            "pairs": list(pairs),
            "notes": list(notes),
        }

    def _scale(self, pictures: Sequence[np.ndarray]) -> float:
        """Return one factor for both, so that things stay as large beside each other."""
        longest = max(max(picture.shape[:2]) for picture in pictures)
        return min(1.0, (self.max_size or longest) / longest)


class ImagePairs(PredictionData):
    """Pairs of pictures; the first of each is rebuilt from the second.

    Args:
        base_dir: Folder that holds image_1 and image_2, whose pictures are paired in order (pic_2
            before pic_10), or a pairs.csv with the columns image0 and image1: paths from where the
            table lies. Pictures may differ in size. Masks, white where a picture may be used, lie
            in mask_1 and mask_2 under the names of their pictures, or are named in the columns
            mask0 and mask1; what has none is used as a whole.
        max_size: Reduce a pair until its longest side has so many pixels; null keeps every pixel.
            Time and memory grow with the number of pixels. All answers are on the reduced grid.
        num_workers: Processes that read pictures ahead; 0 reads in the main process.
    """

    batch_type = ImagePair

    def __init__(
        self, base_dir: str = "data/pairs", max_size: int | None = None, num_workers: int = 0
    ) -> None:
        super().__init__(num_workers)
        if max_size is not None and max_size < SMALLEST_SIDE:
            raise ValueError(f"max_size must be at least {SMALLEST_SIDE} pixels, got {max_size}")
        self.base_dir, self.max_size = base_dir, max_size
        #: What a writer counts: each pair is a batch.
        self.dataset: ImagePairSet | None = None

    def setup(self, stage: str) -> None:
        """Find the pairs, and refuse what could only fail later."""
        if stage != "predict":
            raise InputError(
                "ImagePairs have no ground truth: they can be predicted, not used to "
                f"{stage}; choose other data"
            )
        files, notes = find_pairs(self.base_dir)
        for note in notes:
            rank_zero_warn(note)
        self.dataset = ImagePairSet(files, self.base_dir, self.max_size)


def _as_float(picture: np.ndarray) -> np.ndarray:
    """Return (H, W, C) float32 in [0, 1], C = 1 or 3, of what ``read_image`` gives."""
    if picture.ndim == 2:
        return to_gray_float(picture)[..., None]
    full = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return picture.astype(np.float32) / np.float32(full)


def _read_mask(path: Path) -> np.ndarray:
    """Return (H, W, 1) float32, brighter than half where a picture may be used.

    Raises:
        InputError: If it cannot be read, or nothing may be used.
    """
    mask = to_gray_float(read_image(path))[..., None]
    if not (mask > 0.5).any():
        raise InputError(f"{path}: a mask must be white where its picture counts, but it is black")
    return mask


def _reduced(picture: np.ndarray, scale: float, how: int) -> np.ndarray:
    """Return (H, W, C) reduced to ``scale`` of its sides."""
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    reduced = cv2.resize(picture, (width, height), interpolation=how)
    return reduced if reduced.ndim == 3 else reduced[..., None]


def _sizes(pictures: Sequence[np.ndarray]) -> str:
    return " and ".join(
        dict.fromkeys(f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures)
    )
