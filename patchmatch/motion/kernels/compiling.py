"""Compilation of kernels by numba, with a cache on disk."""

import functools
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from torch import Tensor

from patchmatch.core.messages import warn

# as fast as it gets without leave to forget that there are numbers that are none
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
}
Argument = Tensor | np.ndarray | float | tuple[Any, ...]
ONE = np.uintp(1)  # beside a signed 1 it would be asked of every place whether it is negative


class Kernel:
    """A function of numbers and contiguous arrays, compiled when it is first called.

    What was compiled is kept on the disk, where that can be read and written.

    Args:
        function: Loops that write their results into arrays.
    """

    told = False  # that something is being compiled

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        try:
            folder = Path(function.__code__.co_filename).parent
            # the name by which it is kept
            function.__qualname__ += f"_{_sources(folder, Path(__file__).parent)}"
            self.compiled = numba.njit(cache=True, **OPTIONS)(function)
        except (RuntimeError, OSError):  # nowhere to write, or no sources
            self._keep_nothing()

    def __call__(self, *arguments: Argument) -> None:
        """Compute; the disk may be full, or what is on it damaged.

        Args:
            arguments: Numbers, contiguous tensors that are read and written in place, and tuples.
        """
        compiled, arguments = self.compiled, tuple(map(_plain, arguments))
        try:
            compiled(*arguments)
        except (OSError, EOFError, ValueError, pickle.PickleError):
            if tuple(map(numba.typeof, arguments)) in compiled.overloads:
                raise  # not while it was read from the disk
            if self.compiled is compiled:  # no other thread was faster
                self._keep_nothing()
            self.compiled(*arguments)
        if not Kernel.told and self.compiled.stats.cache_misses:
            Kernel.told = True
            often = "once" if self.kept else "at every start, because no cache can be written"
            warn(f"compiling the motion network takes about a minute, {often}")

    @property
    def kept(self) -> bool:
        """Whether what was compiled is on the disk."""
        return self.compiled.stats.cache_path is not None

    def _keep_nothing(self) -> None:
        self.compiled = numba.njit(**OPTIONS)(self.function)


@functools.cache
def _sources(*folders: Path) -> str:
    """Return a digest of the modules in these folders.

    Numba compiles anew what it kept when the function's own file has changed, but not when a helper
    that it calls stands in another one.
    """
    paths = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths))
    return digest.hexdigest()[:8]


def _plain(argument: Argument) -> Any:
    """Return tensors as arrays, also in tuples, and Python floats as float32."""
    if isinstance(argument, Tensor):
        return argument.detach().numpy()
    if isinstance(argument, tuple):
        if all(isinstance(part, int) for part in argument):  # a length
            return argument
        parts = map(_plain, argument)
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    return np.float32(argument) if isinstance(argument, float) else argument


def kernel(function: Callable[..., None]) -> Kernel:
    """Make a kernel of a function."""
    return Kernel(function)


def helper(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function that kernels call, into each of them."""
    given = {name: value for name, value in OPTIONS.items() if name != "nogil"} | options
    return numba.njit(**given)(function)


def part_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function a part of the one that calls it, before that is compiled."""
    return helper(function, inline="always")
