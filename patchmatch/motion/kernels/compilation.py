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

# All of fastmath but the assumption that there are no NaN and infinite values.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
}
Argument = Tensor | np.ndarray | float | tuple[Any, ...]
ONE = np.uintp(1)  # with unsigned indices numba omits the wraparound of negative ones


class Kernel:
    """A function of numbers and contiguous arrays, compiled when it is first called.

    Compiled code is cached on disk if possible.

    Args:
        function: Loops that write their results into arrays.
    """

    warned = False  # that kernels are compiled

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        try:
            folder = Path(function.__code__.co_filename).parent
            # the name of the file in the cache
            function.__qualname__ += f"_{_sources(folder, Path(__file__).parent)}"
            self.compiled = numba.njit(cache=True, **OPTIONS)(function)
        except (RuntimeError, OSError):  # no writable folder, or no source files
            self._compile_uncached()

    def __call__(self, *arguments: Argument) -> None:
        """Call the compiled function; without the cache if that is damaged or the disk is full.

        Args:
            arguments: Numbers, contiguous tensors that are read and written in place, and tuples.
        """
        self._warn_of_compilation()
        compiled, arguments = self.compiled, tuple(map(_plain, arguments))
        try:
            compiled(*arguments)
        except (OSError, EOFError, ValueError, pickle.PickleError):
            if tuple(map(numba.typeof, arguments)) in compiled.overloads:
                raise  # not an error of the cache
            if self.compiled is compiled:  # unless another thread replaced it
                self._compile_uncached()
            self.compiled(*arguments)

    def _warn_of_compilation(self) -> None:
        """Warn once in a process that kernels without cached code are compiled."""
        if Kernel.warned or self.compiled.overloads:
            return
        folder = self.compiled.stats.cache_path
        if folder and any(Path(folder).glob(f"*.{self.function.__qualname__}-*.nbi")):
            return
        Kernel.warned = True
        often = "once" if folder else "at every start, because no cache can be written"
        warn(f"compiling the motion network takes half a minute, {often}")

    def _compile_uncached(self) -> None:
        self.compiled = numba.njit(**OPTIONS)(self.function)


@functools.cache
def _sources(*folders: Path) -> str:
    """Return a digest of the modules in these folders.

    Numba ignores its cache if the file of a function has changed, but not if that of a function
    that it calls has.
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
    """Return a kernel of a function (decorator)."""
    return Kernel(function)


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call (decorator)."""
    options = {name: value for name, value in OPTIONS.items() if name != "nogil"}
    return numba.njit(**options)(function)
