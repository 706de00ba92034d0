"""Parallel steps of several threads.

Waking a thread takes 0.1 ms, as long as many steps. All threads are therefore woken once and run
the same steps: each takes chunks of a step until none is left and then busy-waits for the chunks of
the others. Nothing waits for a thread that starts late; it finds fewer chunks.
"""

import functools
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor

from patchmatch.core.process import MOST_THREADS, compiled_threads
from patchmatch.motion.kernels.compiling import Kernel, helper

PARTS = 6  # of a step, for each thread: what is left for the last one is little
LOOKS = 1000  # that a thread takes at what others do, before it lets another one run
PATIENCE = 5e-4  # seconds
ABANDONED = 2**62  # parts: more than there are
IS_X86 = platform.machine() in ("x86_64", "AMD64")

Argument = Tensor | np.ndarray | float | tuple[Any, ...]


def run(
    function: Kernel | Callable[..., None], most: int, steps: int, *arguments: Argument
) -> None:
    """Call a kernel in as many threads as ``compiled_threads`` allows, as a team.

    Args:
        function: Takes first the counters of the team, and joins it.
        most: No more than so many of them.
        steps: That the kernel takes, at most.
        arguments: Numbers, contiguous tensors that are read and written in place, and tuples.
    """
    plain = [_plain(argument) for argument in arguments]
    threads = max(1, min(compiled_threads(), most))
    # of each step how many parts are taken, and done; at last how many threads there are
    counters = np.zeros(2 * steps + 1, np.int64)
    counters[-1] = threads
    others = [_submit(_take_part, function, counters, *plain) for _ in range(threads - 1)]
    try:
        _take_part(function, counters, *plain)
    finally:  # who has not begun yet would find nothing to do
        others = [other for other in others if not other.cancel()]
        _watch(others)
        errors = [other.exception() for other in others]  # each waits until it is done
    for error in filter(None, errors):
        raise error


def _take_part(function: Callable[..., None], counters: np.ndarray, *arguments: Any) -> None:
    try:
        function(counters, *arguments)
    except BaseException:
        counters[:-1] = ABANDONED  # nobody waits for what is never done
        raise


@helper
def join(counters):
    """Return a team as one of its threads knows it: what all share, and how many steps it took."""
    return counters, np.zeros(1, np.int64)


@helper
def divided(team, count, least=8):
    """Yield the numbers of the things that are to be done in a step, each to one of the threads.

    When there are no more, wait until all are done.

    Args:
        team: As ``join`` returns it.
        count: How many things there are.
        least: How many are taken at a time, at least.
    """
    counters, own = team
    number = own[0]
    own[0] += 1
    taken, done = 2 * number, 2 * number + 1
    if done >= len(counters) - 1:
        raise IndexError("these are more steps than the team was told of")
    threads = counters[len(counters) - 1]
    wanted = PARTS * threads if threads > 1 else 1
    size = max(least, (count + wanted - 1) // wanted)
    parts = (count + size - 1) // size
    part = _add(counters, taken, 1)
    while part < parts:
        for thing in range(part * size, min((part + 1) * size, count)):  # noqa: UP028 - for numba
            yield thing
        _add(counters, done, 1)
        part = _add(counters, taken, 1)
    looks = 0
    while _add(counters, done, 0) < parts:
        _pause()
        looks += 1
        if looks % LOOKS == 0:
            _give_way()


def _native(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that kernels call of one that builds its code."""
    return intrinsic(function)


@_native
def _add(_, array, place, value):
    """Add to a number that other threads add to as well, and return what it was."""

    def build(context, builder, signature, arguments):
        values, at, more = arguments
        kind = signature.args[0]
        found = context.make_array(kind)(context, builder, values)
        pointer = cgutils.get_item_pointer(context, builder, kind, found, [at])
        return builder.atomic_rmw("add", pointer, more, "seq_cst")

    return types.int64(array, types.int64, types.int64), build


@_native
def _pause(_):
    """Leave the core to another thread of it for a moment."""
    return types.void(), _caller("llvm.x86.sse2.pause" if IS_X86 else None, ir.VoidType())


@_native
def _give_way(_):
    """Let another thread run, if one waits for this processor."""
    return types.void(), _caller("sched_yield" if os.name == "posix" else None, ir.IntType(32))


def _caller(name, returns):
    """Return what builds the call of a function without arguments, or nothing."""

    def build(context, builder, signature, arguments):
        if name:
            kind = ir.FunctionType(returns, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return build


def _watch(others: list[Future[None]]) -> None:
    """Ask for a while whether all are done, which takes less than to be woken."""
    until = time.perf_counter() + PATIENCE
    while not all(other.done() for other in others) and time.perf_counter() < until:
        time.sleep(0)


def _submit(function: Callable[..., None], *arguments: Any) -> Future[None]:
    try:
        return _helpers().submit(function, *arguments)
    except RuntimeError:  # the program ends, and starts no more threads
        return Future()


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS - 1, "kernels")


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def _plain(argument: Argument) -> Any:
    if isinstance(argument, Tensor):
        return argument.detach().numpy() if argument.requires_grad else argument.numpy()
    if isinstance(argument, tuple):
        if all(isinstance(part, int) for part in argument):  # a length
            return argument
        parts = map(_plain, argument)
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    return np.float32(argument) if isinstance(argument, float) else argument
