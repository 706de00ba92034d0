"""Reading and removing of files, with one-line messages for errors of the operating system."""

from collections.abc import Iterable
from pathlib import Path

from patchmatch.core.errors import InputError


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    All image readers use this function, because OpenCV cannot open every Unicode path on Windows.

    Args:
        path: The file to read.

    Returns:
        The content, at least one byte.

    Raises:
        InputError: If the file is missing, empty, a folder, or cannot be read.
    """
    path = Path(path)
    require_file(path)
    try:
        data = path.read_bytes()
    except PermissionError as error:
        raise InputError(
            f"{path}: permission denied; change the permissions of the file"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); check the disk or copy it") from error
    if not data:
        raise InputError(f"{path}: the file is empty; copy or create it again")
    return data


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False if it cannot be reached."""
    try:
        return path.is_dir()
    except OSError:  # its parent can be listed but not entered
        return False


def require_file(path: Path) -> None:
    """Raise InputError unless ``path`` exists and is not a folder."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: expected a file, got a folder; give the path of a file")
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the spelling")
    except OSError as error:  # a parent without permission, a name that is too long
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be reached ({reason}); check the path") from error


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files; missing ones are ignored.

    Raises:
        InputError: If a file cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{path}: cannot be removed ({reason}); remove it or choose another folder"
            ) from error
