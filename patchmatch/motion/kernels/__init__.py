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
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from patchmatch.core.process import threads_for_compiled_loops

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
    """Give the threads of torch to the kernels if they can process these tensors."""
    with threads_for_compiled_loops() if compiled_for(*tensors) else nullcontext():
        yield


@functools.cache
def _can_compile() -> bool:
    """Return whether numba is there and allowed to compile; without it nothing fails."""
    try:
        from numba.core import config
    except ImportError as error:
        logger.warning("numba cannot be used (%s): motion is measured five times as slowly", error)
        return False
    return not getattr(config, "DISABLE_JIT", False)
