"""How kernels are compiled and called."""

import functools
import hashlib
import itertools
import logging
import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from torch import Tensor

from patchmatch.kernels import MOST_THREADS, threads_left

logger = logging.getLogger(__name__)

# as fast as it gets without leave to forget that there are numbers that are none
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
}
PATIENCE = 5e-4  # seconds
ENOUGH = 256  # blocks: with fewer it takes longer to wake a thread
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
            function.__qualname__ += f"_{_sources(folder)}"  # the name by which it is kept
            self.compiled = numba.njit(cache=True, **OPTIONS)(function)
        except (RuntimeError, OSError):  # nowhere to write, or no sources
            self._keep_nothing()

    def __call__(self, *arguments: Any) -> None:
        """Compute; the disk may be full, or what is on it damaged."""
        try:
            self.compiled(*arguments)
        except (OSError, EOFError, ValueError, pickle.PickleError):
            self._keep_nothing()
            self.compiled(*arguments)
        if not Kernel.told and self.compiled.stats.cache_misses:
            Kernel.told = True
            often = "once" if self.kept else "at every start, as no cache can be written"
            text = "compiling the loops of the motion network for this size of block: some 20 s, %s"
            logger.warning(text, often)

    @property
    def kept(self) -> bool:
        """Whether what was compiled is on the disk."""
        return self.compiled.stats.cache_path is not None

    def _keep_nothing(self) -> None:
        self.compiled = numba.njit(**OPTIONS)(self.function)


@functools.cache
def _sources(folder: Path) -> str:
    """Return a digest of the modules in a folder.

    Numba compiles anew what it kept when the function's own file has changed, but not when a helper
    that it calls stands in another one.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py"))))
    return digest.hexdigest()[:8]


def kernel(function: Callable[..., None]) -> Kernel:
    """Make a kernel of a function."""
    return Kernel(function)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call, into each of them."""
    return numba.njit(fastmath=OPTIONS["fastmath"], error_model="numpy")(function)


T = TypeVar("T")
Argument = Tensor | np.ndarray | float | tuple[Any, ...]


def run(function: Kernel, *arguments: Argument) -> None:
    """Call a kernel with numbers, and with contiguous tensors that it reads and writes in place."""
    function(*(_plain(argument) for argument in arguments))


def run_in_parts(function: Kernel, count: int, *arguments: Argument, blocks: int = 1) -> None:
    """Call a kernel for all blocks, part of them on each of the threads that ``threads_for`` left.

    Args:
        function: Takes first the part: the number of its first one, and of the one after its last.
        count: How many there are.
        arguments: As ``run`` takes them.
        blocks: How many of them each one that is counted stands for.
    """
    plain = [_plain(argument) for argument in arguments]
    first, *rest = shares(count, max(1, count * blocks // ENOUGH))
    others = [_submit(function, (part.start, part.stop), *plain) for part in rest]
    try:
        function((first.start, first.stop), *plain)
    finally:  # not before all have stopped writing into the arrays
        _watch(others)
        errors = [other.exception() for other in others]  # each waits until it is done
    for error in filter(None, errors):
        raise error


def shares(count: int, most: int = MOST_THREADS) -> list[slice]:
    """Divide so many into parts, one for each thread that is left, or no more than ``most``."""
    parts = max(1, min(threads_left(), most, count))
    ends = [count * part // parts for part in range(parts + 1)]
    return list(itertools.starmap(slice, itertools.pairwise(ends)))


def _watch(others: list[Future[None]]) -> None:
    """Ask for a while whether all are done, which takes less than to be woken."""
    until = time.perf_counter() + PATIENCE
    while not all(other.done() for other in others) and time.perf_counter() < until:
        time.sleep(0)


def ahead(function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
    """Begin to compute something in another thread, if there is one; return what gives it."""
    if threads_left() == 1:
        return functools.partial(function, *arguments)
    return _submit(function, *arguments).result


def _submit(function: Callable[..., T], *arguments: Any) -> Future[T]:
    try:
        return _helpers().submit(function, *arguments)
    except RuntimeError:  # the program ends, and starts no more threads
        done: Future[T] = Future()
        done.set_result(function(*arguments))
        return done


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS - 1, "kernels")


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def _plain(argument: Argument) -> Any:
    if isinstance(argument, Tensor):
        return argument.detach().numpy() if argument.requires_grad else argument.numpy()
    if isinstance(argument, tuple):
        is_length = not argument or isinstance(argument[0], int)
        return argument if is_length else tuple(map(_plain, argument))
    return np.float32(argument) if isinstance(argument, float) else argument
