"""How kernels are compiled and called."""

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from torch import Tensor

# as fast as it gets without leave to forget that there are numbers that are none
RELAXED = {"contract", "reassoc", "nsz"}
ONE = np.uintp(1)  # beside a signed 1 it would be asked of every place whether it is negative

logger = logging.getLogger(__name__)
_told = False


def kernel(function: Callable[..., None]) -> Any:
    """Compile a function of numbers and contiguous arrays when it is first called.

    What was compiled is kept on the disk where that can be written.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": RELAXED, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to write
        return numba.njit(**options)(function)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call, into each of them."""
    return numba.njit(fastmath=RELAXED, error_model="numpy")(function)


def run(function: Any, *arguments: Tensor | float) -> None:
    """Call a kernel with numbers, and with contiguous tensors that it reads and writes in place."""
    global _told
    function(*(_plain(argument) for argument in arguments))
    if not _told:
        _told = True
        if function.stats.cache_misses:  # the first kernel was compiled, so the others will be
            logger.warning("compiling the loops of the motion network: seconds, and once only")


def _plain(argument: Tensor | float) -> np.ndarray | np.float32 | int:
    if isinstance(argument, Tensor):
        return argument.detach().numpy()
    return np.float32(argument) if isinstance(argument, float) else argument
