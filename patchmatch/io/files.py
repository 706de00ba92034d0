"""Reading whole files, with the operating system's refusals turned into sentences."""

from pathlib import Path

from patchmatch.core.errors import InputError


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    OpenCV cannot open every unicode name on Windows, so all readers of this package take their
    bytes from here.

    Args:
        path: The file to read.

    Returns:
        The whole content, never empty.

    Raises:
        InputError: If the file is missing, empty, a folder, or cannot be read.
    """
    path = Path(path)
    require_file(path)
    try:
        data = path.read_bytes()
    except PermissionError as error:
        raise InputError(f"{path}: you may not read this file; change its permissions") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); check the disk or copy it") from error
    if not data:
        raise InputError(f"{path}: the file is empty; copy or make it again")
    return data


def require_file(path: Path) -> None:
    """Raise InputError unless something that is not a folder stands at ``path``."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: this is a folder; give the name of a file")
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the spelling")
    except OSError as error:  # a folder on the way that may not be entered, a name too long
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be reached ({reason}); check the path") from error
