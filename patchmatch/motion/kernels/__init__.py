"""Loops over pixels and blocks, compiled for the CPU: what takes a network too many operations.

Each step does in one pass what a network of ``nets`` does by a dozen tensor operations, of which
every one writes all its numbers to memory: in a tenth of the time, without gradients, and with the
same result to rounding, which plain areas magnify. Two kernels walk through the steps, in all
threads at once: ``description.describe_frames`` and ``comparison.compare_frames``. Import their
modules where they are called: numba takes half a second to load.
"""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

MOST_THREADS = 8  # of kernels: more than that wait for memory
_threads = ContextVar("threads", default=1)
logger = logging.getLogger(__name__)


def compiled_for(*tensors: Tensor) -> bool:
    """Return whether kernels serve these tensors: float32 on the CPU, and no gradient wanted."""
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_exporting()
        and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and _can_compile()
    )


@contextmanager
def threads_for(*tensors: Tensor) -> Iterator[None]:
    """Let kernels use the threads that torch has, and torch one, where they serve these tensors.

    What is left to torch is so small there that a second thread does no more than wait for work,
    as busily as work is done. A thread whose first use of torch falls into this keeps one; other
    threads keep theirs.
    """
    before = torch.get_num_threads()
    if before == 1 or not compiled_for(*tensors):
        yield
        return
    token = _threads.set(min(before, MOST_THREADS))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _threads.reset(token)


def threads_left() -> int:
    """Return how many threads kernels may use here."""
    return _threads.get()


@functools.cache
def _can_compile() -> bool:
    """Return whether numba is there and allowed to compile; without it nothing fails."""
    try:
        from numba.core import config
    except ImportError as error:
        logger.warning("numba cannot be used (%s): motion is measured five times as slowly", error)
        return False
    return not getattr(config, "DISABLE_JIT", False)
