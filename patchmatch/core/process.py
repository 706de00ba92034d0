"""Settings of the process: OpenMP, threads and the allocator, each with its reason.

Importing the package changes none of them. The command line calls ``configure_process``; a program
that calls the package may do the same.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

SPIN_COUNT = 2000
MOST_THREADS = 8  # of compiled loops: more than that wait for memory

Item = TypeVar("Item")
Result = TypeVar("Result")

_compiled_threads = ContextVar("compiled_threads", default=1)


def configure_process() -> None:
    """Limit how long idle OpenMP threads spin; call it before torch is imported.

    GNU OpenMP, which torch uses on Linux, lets idle threads spin for milliseconds by default. If
    other programs use the processor as well, a frame then takes seconds. Without any spinning a
    frame takes twice the time on an idle machine; a few microseconds serve both cases. Sets the
    environment variable GOMP_SPINCOUNT unless it or OMP_WAIT_POLICY is set. It has no effect once
    torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next frame instead of returning it to the system.

    Otherwise page faults take up to half of the time on a CPU. glibc raises its threshold to the
    size of the largest block that was freed, at most 32 MB; allocating and freeing 31 MB, which are
    never touched, is enough.
    """
    import torch

    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def threads_for_compiled_loops() -> Iterator[None]:
    """Give the threads of torch to compiled loops, and leave one to torch.

    What torch computes between compiled loops is so little that further threads only spin. A thread
    whose first use of torch falls into this context keeps one thread; other threads keep theirs.
    """
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    token = _compiled_threads.set(min(before, MOST_THREADS))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _compiled_threads.reset(token)


def compiled_threads() -> int:
    """Return how many threads compiled loops may use in this context."""
    return _compiled_threads.get()


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results of a function for all items, computed in ``compiled_threads`` threads.

    Compiled loops release the global interpreter lock. The threads compute without gradients.
    """
    threads = min(compiled_threads(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    import torch

    inference = torch.is_inference_mode_enabled()
    remaining = list(enumerate(items))[::-1]
    results: dict[int, Result] = {}

    def work() -> None:
        with torch.inference_mode() if inference else torch.no_grad():
            while remaining:
                try:
                    index, item = remaining.pop()
                except IndexError:  # another thread took the last one
                    return
                results[index] = function(item)

    others: list[Future[None]] = []
    try:
        for _ in range(threads - 1):
            others.append(_pool().submit(work))
    except RuntimeError:  # the interpreter shuts down and starts no more threads
        pass
    try:
        work()
    finally:
        errors = [other.exception() for other in others if not other.cancel()]
    for error in filter(None, errors):
        raise error
    return [results[index] for index in range(len(items))]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Return threads that are kept: starting one takes as long as many loops."""
    return ThreadPoolExecutor(MOST_THREADS - 1, "patchmatch")


if hasattr(os, "register_at_fork"):  # a forked process has no threads of its parent
    os.register_at_fork(after_in_child=_pool.cache_clear)
