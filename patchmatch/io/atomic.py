"""Writing so that a killed run leaves the old file or the new one, never half of one."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from patchmatch.core.errors import InputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "you may not write there; close programs that use it or choose another folder",
    errno.EPERM: "you may not write there; close programs that use it or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EISDIR: "a folder of this name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when the block ends well.

    The temporary file lies beside the target, because only a move within one disk is atomic, and
    keeps its suffix, because many writers choose the format by it. Missing folders are made. Any
    exception, KeyboardInterrupt included, removes the temporary file and leaves the target alone.

    Args:
        path: The file to write.

    Yields:
        The path to write to.

    Raises:
        InputError: If the operating system refuses the folder, the file or the writing.
    """
    path = Path(path)
    temporary = path.parent / f".{uuid4().hex[:12]}.tmp{path.suffix}"
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if _is_about_another_file(error, path, temporary):
            raise
        raise _refusal(path, path.parent, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of ``atomic_path``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, its line ends untouched, by way of ``atomic_path``."""
    write_bytes_atomic(path, text.encode("utf-8"))


def require_writable_folder(path: str | Path) -> Path:
    """Make a folder, and prove that it can be written by writing a file in it.

    Permission bits do not tell (network disks, containers, Windows), a written byte does.

    Args:
        path: The folder; it and its parents are made where missing.

    Returns:
        The folder.

    Raises:
        InputError: If the folder cannot be made or nothing can be written in it.
    """
    folder = Path(path)
    probe = folder / f".{uuid4().hex[:12]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"\n")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _refusal(folder, folder, error) from error
    return folder


def _is_about_another_file(error: OSError, path: Path, temporary: Path) -> bool:
    """Tell whether the block failed on a file of its own, which the target is not to blame for."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    return Path(error.filename) not in {path, temporary, *path.parents}


def _refusal(path: Path, folder: Path, error: OSError) -> InputError:
    """Return the one-line error for a refused write of ``path`` into ``folder``."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if place.exists() and not place.is_dir():
                return InputError(
                    f"{path}: cannot be written: {place} is a file where a folder is needed; "
                    "move it or choose another folder"
                )
    default = f"{error.strerror or type(error).__name__}; choose another folder"
    remedy = _REMEDIES.get(error.errno or 0, default)
    return InputError(f"{path}: cannot be written: {remedy}")
