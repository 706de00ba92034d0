"""How kernels are compiled and called."""

import logging
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from torch import Tensor

logger = logging.getLogger(__name__)

# as fast as it gets without leave to forget that there are numbers that are none
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
}
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
            self.compiled = numba.njit(cache=True, **OPTIONS)(function)
        except RuntimeError:  # nowhere to write
            self._keep_nothing()

    def __call__(self, *arguments: Any) -> None:
        """Compute; the disk may be full, or what is on it damaged."""
        try:
            self.compiled(*arguments)
        except (OSError, EOFError, ValueError, pickle.PickleError):
            self._keep_nothing()
            self.compiled(*arguments)
        if self.compiled.stats.cache_misses and not Kernel.told:
            Kernel.told = True
            often = "once only" if self.kept else "at every start, as no cache can be written"
            logger.warning("compiling the loops of the motion network: some 15 s, %s", often)

    @property
    def kept(self) -> bool:
        """Whether what was compiled is on the disk."""
        return self.compiled.stats.cache_path is not None

    def _keep_nothing(self) -> None:
        self.compiled = numba.njit(**OPTIONS)(self.function)


def kernel(function: Callable[..., None]) -> Kernel:
    """Make a kernel of a function."""
    return Kernel(function)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call, into each of them."""
    return numba.njit(fastmath=OPTIONS["fastmath"], error_model="numpy")(function)


def run(function: Kernel, *arguments: Tensor | float) -> None:
    """Call a kernel with numbers, and with contiguous tensors that it reads and writes in place."""
    function(*(_plain(argument) for argument in arguments))


def _plain(argument: Tensor | float) -> np.ndarray | np.float32 | int:
    if isinstance(argument, Tensor):
        return argument.detach().numpy()
    return np.float32(argument) if isinstance(argument, float) else argument
