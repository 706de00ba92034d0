"""Frame sequences: their interface, and the images of a folder."""

import abc
import collections
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.files import is_folder
from patchmatch.io.images import IMAGE_SUFFIXES, read_image
from patchmatch.io.order import order_files

LONGEST_NAME = 200  # bytes of a name in a file name; the rest is for what is added to it

# Files and folders that operating systems and network storages create.
_SYSTEM_FILES = {
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "system volume information",
    "thumbs.db",
}


def unique_name(name: str, taken: set[str]) -> str:
    """Return ``name``, with a number appended if it is in ``taken``, and add it there.

    Args:
        name: The preferred name.
        taken: Names in use, case-folded; modified in place.
    """
    unique, number = name, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique.casefold())
    return unique


def safe_name(name: str) -> str:
    """Replace what some operating system does not allow in file names, and fit the length."""
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).rstrip(". ")
    return fit_file_name(safe or "frames")


def fit_file_name(name: str) -> str:
    """Return a name short enough to be part of a file name, which has at most 255 bytes.

    Args:
        name: Any name. A long one is cut and ends in a digest, so that it stays unique.
    """
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    while len(os.fsencode(name)) > LONGEST_NAME - len(digest):
        name = name[:-1]
    return name + digest


def list_folder(folder: Path) -> list[Path]:
    """Return the visible entries of a folder in the order of ``order_files``.

    Raises:
        InputError: If the folder cannot be listed.
    """
    try:
        entries = [
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.name.casefold() not in _SYSTEM_FILES
        ]
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no such folder; check the spelling") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder}: expected a folder, got a file; give its folder") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{folder}: the folder cannot be listed ({reason}); change its permissions"
        ) from error
    return order_files(entries)[0]


class FrameSequence(abc.ABC):
    """Ordered frames, read one at a time; picklable for worker processes.

    Attributes:
        name: Unique within a run and valid in file names; the ``source`` column of tables.
    """

    name: str

    @property
    def files(self) -> Sequence[Path]:
        """The files that the frames are read from."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the sequence as a whole, one sentence each."""
        return ()

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abc.abstractmethod
    def frame_name(self, index: int) -> str:
        """Return the name of a frame, unique within the sequence and valid in file names."""

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Return a frame in the format of ``read_image``; the caller may modify the array.

        Args:
            index: From 0 to the length minus 1.

        Raises:
            InputError: If the frame cannot be read; the message names it.
            IndexError: If there is no such frame.
        """

    def time(self, index: int) -> float | None:
        """Return the time of a frame in seconds after the first one; None if unknown."""
        self._require_index(index)
        return None

    def close(self) -> None:  # noqa: B027 - most sequences keep nothing open
        """Close open files; the next read opens them again."""

    def _require_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}, got {index}")


class FolderSequence(FrameSequence):
    """The images directly in a folder, in the order of ``order_files``.

    Args:
        folder: The folder; other files in it are ignored.
        name: Name of the sequence; the name of the folder by default.
        entries: The entries of the folder to use; those of ``list_folder`` by default.
    """

    def __init__(
        self, folder: str | Path, name: str | None = None, entries: Sequence[Path] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name or "frames"
        entries = list_folder(self.folder) if entries is None else entries
        files = [entry for entry in entries if not is_folder(entry)]
        # Broken links are included: reading them raises an error, skipping them would be silent.
        images, doubt = order_files(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
        self.paths = tuple(images)
        #: A warning if the order of the images is ambiguous.
        self.order_note = doubt and f"{self.folder}: the order of the frames is ambiguous: {doubt}"
        self._ignored = tuple(file.name for file in files if file not in set(self.paths))
        self._frame_names = _frame_names(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> Sequence[Path]:
        """The images."""
        return self.paths

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the visible files that are not images, in natural order."""
        return self._ignored

    def frame_name(self, index: int) -> str:
        """Return the stem of the file, or ``a_png`` and ``a_jpg`` if two share the stem ``a``."""
        self._require_index(index)
        return self._frame_names[index]

    def read(self, index: int) -> np.ndarray:
        """Return a frame in the format of ``read_image``."""
        self._require_index(index)
        return read_image(self.paths[index])


def _frame_names(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the stems of the files, with the suffix appended where they are not unique."""
    counts = collections.Counter(path.stem.casefold() for path in paths)
    taken = {stem for stem, count in counts.items() if count == 1}
    return tuple(
        path.stem
        if counts[path.stem.casefold()] == 1
        else unique_name(f"{path.stem}_{path.suffix[1:]}", taken)
        for path in paths
    )
