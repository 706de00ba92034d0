"""Faults of disk and machine at a chosen step of a run."""

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """Ends a run as SIGKILL does: nothing is cleaned up."""


class Faults:
    """Counts the steps of a run that change the disk, and makes one of them fail.

    A step is a write to a file, a rename or a removal.

    Args:
        patch: Undone at the end of the test.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.step, self.at, self.kind = 0, -1, ""
        self.happened = False
        for name in ("write_bytes", "open", "replace", "unlink"):
            patch.setattr(Path, name, self._hook(name, getattr(Path, name)))

    def start(self, kind: str, at: int) -> None:
        """Begin to count; step ``at`` fails.

        Args:
            kind: ``kill``; ``full``, also for all later writes; or ``denied``, for removals.
            at: Number of the step, from 0.
        """
        self.step, self.at, self.kind, self.happened = 0, at, kind, False

    def stop(self) -> None:
        """Repair the disk and start the machine again."""
        self.kind = ""

    def _hook(self, name: str, real: Any) -> Any:
        def call(path: Path, *args: Any, **options: Any) -> Any:
            is_write = name == "write_bytes" or (name == "open" and "a" in args)
            if not self.kind or (name == "open" and not is_write):
                return real(path, *args, **options)
            if name == "unlink":
                if self.kind == "kill" and self.happened:
                    return None  # a dead process removes nothing
                if not path.exists():
                    return real(path, *args, **options)
            if not self._fails(name, is_write):
                return real(path, *args, **options)
            if is_write:  # a part of the file is written
                data = args[0] if name == "write_bytes" else b'\n{"path'
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "wb") as file:
                    file.write(data[: len(data) // 2])
            if self.kind == "kill":
                raise Killed
            number = errno.ENOSPC if self.kind == "full" else errno.EACCES
            raise OSError(number, os.strerror(number), str(path))

        return call

    def _fails(self, name: str, is_write: bool) -> bool:
        """Count a step and return whether it fails."""
        counts = {"kill": True, "full": is_write, "denied": name == "unlink"}[self.kind]
        if not counts:
            return False
        self.step += 1
        remains = self.kind in ("kill", "full") and self.happened
        self.happened = self.happened or self.step > self.at
        return remains or self.step == self.at + 1


def jump_the_clock(patch: pytest.MonkeyPatch) -> None:
    """Give each file that is written a random time between 1980 and 2060."""
    rng, real = random.Random(0), Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        written = real(path, data)
        os.utime(path, (0, rng.randrange(10 * 365 * 86400, 90 * 365 * 86400)))
        return written

    patch.setattr(Path, "write_bytes", write_bytes)
