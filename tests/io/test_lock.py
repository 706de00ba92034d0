"""One process at a time holds the lock of a folder, and a kill releases it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import lock as locks
from patchmatch.io.lock import LOCK_FILE, FolderLock

HOLD = """
import sys
from pathlib import Path
from patchmatch.io.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), int(sys.argv[2]))
assert (lock.join() if int(sys.argv[2]) else lock.acquire()) is None
print("locked", flush=True)
sys.stdin.read()
lock.release()
"""


def hold(folder: Path, index: int) -> subprocess.Popen[str]:
    """Start a process that holds the lock of a folder until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(index)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.fixture
def holder(tmp_path):
    process = hold(tmp_path, 0)
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_told_which_one_uses_the_folder(tmp_path, holder):
    message = rf"another run uses this folder: process {holder.pid} on \S+; wait until it ends"
    with pytest.raises(InputError, match=message):
        FolderLock(tmp_path).acquire()
    holder.communicate("")
    assert list(tmp_path.iterdir()) == []
    assert FolderLock(tmp_path).acquire() is None


def test_kill_releases_the_lock(tmp_path, holder):
    holder.kill()
    holder.communicate()
    assert (tmp_path / LOCK_FILE).exists()
    lock = FolderLock(tmp_path)
    assert lock.acquire() is None
    assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
    assert (tmp_path / LOCK_FILE).read_text().count("process") == 1
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_folder_is_locked_while_any_process_of_the_run_is_alive(tmp_path, holder):
    second = hold(tmp_path, 1)
    holder.kill()
    holder.communicate()
    message = rf"process {holder.pid} on \S+, process {second.pid} on \S+; wait"
    with pytest.raises(InputError, match=message):
        FolderLock(tmp_path).acquire()
    second.communicate("")
    lock = FolderLock(tmp_path)
    assert lock.acquire() is None
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_locks_is_reported(tmp_path, monkeypatch, number):
    def cannot_lock(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "_lock", cannot_lock)
    assert FolderLock(tmp_path).acquire() == os.strerror(number)
    assert list(tmp_path.iterdir()) == []


def test_lock_whose_file_was_removed_meanwhile_is_taken_again(tmp_path, monkeypatch):
    real, calls = locks._lock, []

    def lock_after_removal(file: int) -> None:
        if not calls:  # the holder ends between open and lock
            (tmp_path / LOCK_FILE).unlink()
        calls.append(file)
        real(file)

    monkeypatch.setattr(locks, "_lock", lock_after_removal)
    lock = FolderLock(tmp_path)
    assert lock.acquire() is None
    assert len(calls) == 2
    assert (tmp_path / LOCK_FILE).exists()
    lock.release()


def test_folder_that_cannot_be_written_raises(tmp_path, monkeypatch):
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / LOCK_FILE))

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(InputError, match="the disk is read-only; choose another folder"):
        FolderLock(tmp_path).acquire()
