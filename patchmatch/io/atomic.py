"""Atomic writing: a killed run leaves the old or the new file, never a partial one."""

import contextlib
import errno
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from patchmatch.core.errors import InputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "permission denied; close programs that use it or choose another folder",
    errno.EPERM: "permission denied; close programs that use it or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EISDIR: "a folder of this name exists; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


class WriteObserver(Protocol):
    """Is called for each file that ``atomic_path`` writes; an exception cancels the write."""

    def begin(self, path: Path, temporary: Path) -> None:
        """Handle a file before its temporary file is created."""
        ...

    def ready(self, path: Path, temporary: Path) -> None:
        """Handle a file whose temporary file is complete, before it is renamed."""
        ...


_observer: ContextVar[WriteObserver | None] = ContextVar("observer of writes", default=None)


@contextlib.contextmanager
def observe_writes(observer: WriteObserver) -> Iterator[None]:
    """Call an observer for each file that this thread writes atomically inside the block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to ``path`` when the block ends without an error.

    The temporary file is in the folder of the target, because renaming is atomic only within one
    file system, and has its suffix, because many writers choose the format by it. Missing folders
    are created. Any exception, also KeyboardInterrupt, removes the temporary file and leaves the
    target unchanged.

    Args:
        path: The file to write.

    Yields:
        The path to write to.

    Raises:
        InputError: If the folder cannot be created or the file cannot be written.
    """
    path = Path(path)
    temporary = path.parent / f".{uuid4().hex[:12]}.tmp{path.suffix}"
    observer = _observer.get()
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        if observer is not None:
            observer.begin(path, temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if observer is not None:
            observer.ready(path, temporary)
        temporary.replace(path)
    except OSError as error:
        if _concerns_another_file(error, path, temporary):
            raise
        raise write_error(path, path.parent, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write bytes to a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write text as UTF-8 to a file atomically, without converting line ends.

    Bytes of file names that are not UTF-8 are written as escapes, which JSON reads back.
    """
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def require_writable_folder(path: str | Path) -> Path:
    """Create a folder if missing, and check by a temporary file that it is writable.

    Permission bits are not reliable on network disks, in containers and on Windows.

    Args:
        path: The folder; missing parents are created as well.

    Returns:
        The folder.

    Raises:
        InputError: If the folder cannot be created or is not writable.
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
        raise write_error(folder, folder, error) from error
    return folder


def _concerns_another_file(error: OSError, path: Path, temporary: Path) -> bool:
    """Return whether the error is about a file other than the target and its folders."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    return Path(error.filename) not in {path, temporary, *path.parents}


def write_error(path: Path, folder: Path, error: OSError) -> InputError:
    """Return the one-line error for a failed write of ``path`` into ``folder``."""
    for parent in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if parent.exists() and not parent.is_dir():
                return InputError(
                    f"{path}: cannot be written: {parent} is a file where a folder is needed; "
                    "move it or choose another folder"
                )
    default = f"{error.strerror or type(error).__name__}; choose another folder"
    remedy = _REMEDIES.get(error.errno or 0, default)
    return InputError(f"{path}: cannot be written: {remedy}")
