"""Lock of a folder, which the operating system releases when the process ends."""

import contextlib
import errno
import os
import socket
import sys
import time
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_error
from patchmatch.io.files import remove_files

LOCK_FILE = ".patchmatch.lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class FolderLock:
    """A lock that one run at a time holds on a folder; a kill releases it.

    The file ``.patchmatch.lock`` contains the processes of the run. It is removed with the lock; a
    kill leaves it, without a lock. The first process locks it for the run; afterwards the others
    ``join``, so that the folder remains locked if only the first one is killed.

    Args:
        folder: The folder; created if missing.
        process: Index of this process in the run.
    """

    def __init__(self, folder: Path, process: int = 0) -> None:
        self.folder, self.path = folder, folder / LOCK_FILE
        self._index, self._process = process, os.getpid()
        self._file: int | None = None

    def acquire(self) -> str | None:
        """Lock the folder, as the first process of a run.

        Returns:
            None; or why the file system cannot lock, in which case the folder is not locked.

        Raises:
            InputError: If another run holds the lock, or the folder is not writable.
        """
        while self._file is None:
            file = self._open()
            try:
                _lock(file)
            except OSError as error:
                os.close(file)
                if error.errno not in _HELD:
                    remove_files([self.path])
                    return error.strerror or type(error).__name__
                raise InputError(
                    f"{self.folder}: another run uses this folder: {self._holder()}; wait until it "
                    "ends, or choose another --writer.output_path"
                ) from error
            if _is_open(file, self.path):
                self._file = file
            else:  # its holder has removed it meanwhile
                os.close(file)
        try:
            os.ftruncate(self._file, 0)
            self._add_process()
            _lock_one(self._file, self._index)
        except OSError as error:
            self.release()
            raise write_error(self.folder, self.folder, error) from error
        return None

    def join(self) -> None:
        """Take part in the lock of the first process, if there is one."""
        if self.path.exists():
            self._file = self._open()
            with contextlib.suppress(OSError):  # the first process has reported it
                _lock_one(self._file, self._index)
                self._add_process()

    def release(self) -> None:
        """Unlock the folder; the first process removes the file if no other one holds the lock."""
        if self._file is None or os.getpid() != self._process:  # a copy in a forked process
            return
        file, self._file = self._file, None
        if self._index == 0 and sys.platform != "win32":
            for _ in range(20):
                with contextlib.suppress(OSError):  # the other processes end at about this time
                    _lock(file)
                    self.path.unlink()
                    break
                time.sleep(0.05)
        os.close(file)
        if self._index == 0 and sys.platform == "win32":  # which does not remove open files
            with contextlib.suppress(OSError):
                self.path.unlink()

    def __del__(self) -> None:
        self.release()

    def _open(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise write_error(self.folder, self.folder, error) from error

    def _add_process(self) -> None:
        if self._file is not None:
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _holder(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            if lines := self.path.read_text(encoding="utf-8").splitlines():
                return ", ".join(lines)
        return "its process is not known"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the text, which others read
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _lock_one(file: int, index: int) -> None:
        pass  # the first process holds the lock alone

else:
    import fcntl

    # Record locks: processes that the holder forks, as for reading data, do not inherit them.

    def _lock(file: int) -> None:
        """Lock all bytes, which fails if any process of another run holds one."""
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _lock_one(file: int, index: int) -> None:
        """Lock the byte of one process, and leave the others to the other processes of its run."""
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index)
        if index == 0:
            fcntl.lockf(file, fcntl.LOCK_UN, 0, 1)


def _is_open(file: int, path: Path) -> bool:
    """Return whether a path still has the file that is open."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
