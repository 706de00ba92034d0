"""Synthetic frames in folders, videos and streams; their gray value encodes their number."""

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
    """Write ``count`` frames to a folder, numbered from ``first``."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        cv2.imwrite(str(folder / f"frame_{i}.png"), np.full((*size, 3), i, np.uint8))


def write_frame_video(path: Path, count: int = 12, **options: Any) -> Path:
    """Write ``count`` frames as a video."""
    images = (np.full((32, 48, 3), 10 * i % 256, np.uint8) for i in range(count))
    write_video(path, images, **options)
    return path


class SyntheticStream(LiveSequence):
    """A stream of frames of the given sizes; ``error`` is the message it ends with."""

    def __init__(self, sizes: Sequence[tuple[int, int]], error: str | None = None) -> None:
        super().__init__("camera:0")
        self.sizes, self.error = sizes, error

    def open(self) -> None:
        """Do nothing: there is no device."""

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield time and frame, ten per second."""
        for number, size in enumerate(self.sizes):
            yield number / 10, np.full((*size, 3), number, np.uint8)
        if self.error:
            raise InputError(self.error)


def pair_names(clips: Iterable[Clip]) -> list[tuple[str, str]]:
    """Return the names of the frames of every pair."""
    return [(c["names"][a], c["names"][b]) for c in clips for a, b in c["pairs"]]


def gap_pairs(count: int, gaps: Sequence[int]) -> list[tuple[str, str]]:
    """Return the expected names of the frames of every pair of ``count`` frames."""
    return [(f"frame_{i - g}", f"frame_{i}") for i in range(count) for g in gaps if i >= g]
