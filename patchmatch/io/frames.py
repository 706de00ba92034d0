"""Ordered frames: what every sequence offers, and the frames of a folder."""

import abc
import collections
import re
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.images import IMAGE_SUFFIXES, read_image

# Files that a system drops into folders and that nobody means as data.
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that compares digits as numbers: ``frame_2`` before ``frame_10``.

    Case counts only between names that are otherwise equal, and so do leading zeros; different
    names never tie, so the order is the same on every system.

    Args:
        name: A file name, or a part of one.

    Returns:
        The key.
    """
    parts = re.split(r"([0-9]+)", name.casefold())  # text at even places, digits at odd ones
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def unique_name(wanted: str, taken: set[str]) -> str:
    """Claim a name that is unlike all in ``taken``, whatever their case, and add it there."""
    name, number = wanted, 1
    while name.casefold() in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name.casefold())
    return name


def safe_name(name: str) -> str:
    """Replace what some system does not allow in file names."""
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).rstrip(". ")
    return safe or "frames"


def list_folder(folder: Path) -> list[Path]:
    """Return what lies directly in a folder and is not hidden, in natural order.

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
        raise InputError(f"{folder}: this is a file; give the folder it lies in") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{folder}: the folder cannot be listed ({reason}); change its permissions"
        ) from error
    # The stem first, so that frame.png comes before frame1.png.
    return sorted(entries, key=lambda entry: (natural_key(entry.stem), natural_key(entry.name)))


class FrameSequence(abc.ABC):
    """Frames in order, read one at a time; picklable, so that worker processes can read too.

    Attributes:
        name: Unique within a run and safe in file names; the ``source`` column of tables.
    """

    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the sequence as a whole; one sentence each."""
        return ()

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abc.abstractmethod
    def frame_name(self, index: int) -> str:
        """Return a name for a frame, unique within the sequence and safe in file names."""

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Return a frame as ``read_image`` does; the array is the caller's own.

        Args:
            index: From 0 to the length less one.

        Raises:
            InputError: If the frame cannot be read; the message names it.
            IndexError: If there is no such frame.
        """

    def time(self, index: int) -> float | None:
        """Return when a frame was taken, in seconds after the first one; None if not known."""
        self._require_index(index)
        return None

    def close(self) -> None:  # noqa: B027 - most sequences hold nothing open
        """Let go of what is held open; the next read opens it again."""

    def _require_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}, got {index}")


class FolderSequence(FrameSequence):
    """The images directly in a folder, in natural order.

    Args:
        folder: The folder; it may hold other things too.
        name: The name of the sequence, by default that of the folder.
    """

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name or "frames"
        files = [entry for entry in list_folder(self.folder) if not entry.is_dir()]
        # A link that leads nowhere stays in: better refused when read than missed in silence.
        self.paths = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
        self._ignored = tuple(file.name for file in files if file not in set(self.paths))
        self._frame_names = _frame_names(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the visible files that are no images, in natural order."""
        return self._ignored

    def frame_name(self, index: int) -> str:
        """Return the stem of the file; ``a_png`` and ``a_jpg`` where two share the stem ``a``."""
        self._require_index(index)
        return self._frame_names[index]

    def read(self, index: int) -> np.ndarray:
        """Return a frame as ``read_image`` does."""
        self._require_index(index)
        return read_image(self.paths[index])


def _frame_names(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """Name frames by their stems, with the suffix where that would not be unique."""
    counts = collections.Counter(path.stem.casefold() for path in paths)
    taken = {stem for stem, count in counts.items() if count == 1}
    return tuple(
        path.stem
        if counts[path.stem.casefold()] == 1
        else unique_name(f"{path.stem}_{path.suffix[1:]}", taken)
        for path in paths
    )
