"""Lock of a folder, which the operating system releases when the process ends."""

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_error
from patchmatch.io.files import remove_files

LOCK_FILE = ".patchmatch.lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_POSITION = 1 << 20  # of the locked byte on Windows: beyond the text, which others read


class FolderLock:
    """A lock that one process at a time holds on a folder; a kill releases it.

    The file ``.patchmatch.lock`` contains process and host. It is removed with the lock; a kill
    leaves it, without a lock.

    Args:
        folder: The folder; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK_FILE
        self._file: int | None = None
        self._process = os.getpid()

    def acquire(self) -> str | None:
        """Lock the folder.

        Returns:
            None; or why the file system cannot lock, in which case the folder is not locked.

        Raises:
            InputError: If another process holds the lock, or the folder is not writable.
        """
        while self._file is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise write_error(self.folder, self.folder, error) from error
            try:
                _lock(file)
            except OSError as error:
                os.close(file)
                if error.errno not in _HELD:
                    remove_files([self.path])
                    return error.strerror or type(error).__name__
                raise InputError(
                    f"{self.folder}: another run uses this folder: {self._holder()}; wait "
                    "until it ends, or choose another --writer.output_path"
                ) from error
            if not _is_open(file, self.path):  # its holder has removed it meanwhile
                os.close(file)
                continue
            self._file = file
            try:
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            except OSError as error:
                self.release()
                raise write_error(self.folder, self.folder, error) from error
        return None

    def release(self) -> None:
        """Remove the file and unlock the folder; without a lock it does nothing."""
        if self._file is None or os.getpid() != self._process:  # a copy in a forked process
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):  # Windows keeps open files
            self.path.unlink()
        os.close(file)
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self.path.unlink()

    def __del__(self) -> None:
        self.release()

    def _holder(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8") or "its process is not known"
        except (OSError, ValueError):
            return "its process is not known"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, _POSITION, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        # A record lock: processes that the holder forks, as for reading data, do not inherit it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_open(file: int, path: Path) -> bool:
    """Return whether a path still has the file that is open."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
