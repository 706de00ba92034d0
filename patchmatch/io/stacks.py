"""Frames in one image file: pages of a TIFF, or an animated GIF, WebP or PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from patchmatch.core.errors import InputError, first_line
from patchmatch.io import tiff
from patchmatch.io.decoding import decode_image, formats, to_array
from patchmatch.io.files import read_bytes
from patchmatch.io.frames import FrameSequence

STACK_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".png", ".apng")


def count_pages(path: Path) -> int:
    """Return the number of frames in an image file; 0 if it cannot be read as an image."""
    try:
        with path.open("rb") as file:
            if file.read(4) in tiff.SIGNATURES:
                return len(tiff.find_pages(file))
            file.seek(0)
            with Image.open(file, formats=formats()) as opened:
                return getattr(opened, "n_frames", 1)
    except Exception:  # each decoder raises classes of its own; reading the image reports them
        return 0


class ImageStack(FrameSequence):
    """The pages or animation frames of one image file.

    The content of the file is kept in memory until ``close``.

    Args:
        path: A TIFF, GIF, WebP or PNG file.
        name: Name of the sequence; the stem of the file by default.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path, self.name = path, name or path.stem
        self._count = count_pages(path)
        self._data: bytes | None = None
        self._animation: Image.Image | None = None  # its frames are decoded one after the other

    def __len__(self) -> int:
        return self._count

    @property
    def files(self) -> Sequence[Path]:
        """The file."""
        return (self.path,)

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to at least six digits."""
        self._require_index(index)
        return f"{index:06d}"

    def read(self, index: int) -> np.ndarray:
        """Return a page in the format of ``read_image``."""
        self._require_index(index)
        self._data = read_bytes(self.path) if self._data is None else self._data
        try:
            if self._data.startswith(tiff.SIGNATURES):
                return decode_image(self._data, index)
            if self._animation is None:
                self._animation = Image.open(self.path, formats=formats())
            self._animation.seek(index)
            return to_array(self._animation)
        except Exception as error:  # as in count_pages
            reason = first_line(error, length=None)
            raise InputError(
                f"{self.path}: page {index} cannot be read: {reason}; copy or export it again"
            ) from error

    def close(self) -> None:
        """Release the content of the file; the next read opens it again."""
        if self._animation is not None:
            self._animation.close()
        self._data = self._animation = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without open files; every process opens its own."""
        return self.__dict__ | {"_data": None, "_animation": None}
