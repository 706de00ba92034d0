"""Frames that tests make, in folders, videos and streams; their brightness tells their number."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.io import LiveSequence, write_video


def write_frames(
    folder: Path, count: int, size: tuple[int, int] = (30, 40), first: int = 0
) -> None:
    """Write so many frames, named by their number from ``first`` on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        picture = np.full((*size, 3), i, np.uint8)
        cv2.imwrite(str(folder / f"frame_{i}.png"), picture)


def video_of(path: Path, count: int = 12, **options: Any) -> Path:
    """Write so many frames as a video."""
    pictures = (np.full((32, 48, 3), 10 * i % 256, np.uint8) for i in range(count))
    write_video(path, pictures, **options)
    return path


class Source(LiveSequence):
    """A stream of pictures made here, of the sizes given; ``end`` says why it breaks off."""

    def __init__(self, sizes: Sequence[tuple[int, int]], end: str | None = None) -> None:
        super().__init__("camera:0")
        self.sizes, self.end = sizes, end

    def open(self) -> None:
        """Connect to nothing."""

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield time and picture, ten a second."""
        for number, size in enumerate(self.sizes):
            yield number / 10, np.full((*size, 3), number, np.uint8)
        if self.end:
            raise InputError(self.end)


def pair_names(found: Iterable[Clip]) -> list[tuple[str, str]]:
    """Return the names of the frames of every pair."""
    return [(c["names"][a], c["names"][b]) for c in found for a, b in c["pairs"]]


def gap_pairs(count: int, gaps: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names that the pairs of so many frames should have."""
    return [(f"frame_{i - g}", f"frame_{i}") for i in range(count) for g in gaps if i >= g]
