"""Loops over pixels and blocks, compiled for the CPU: what takes a network too many operations.

Each kernel does in one pass what a network of ``nets`` does by a dozen tensor operations, of which
every one writes all its numbers to memory: in a tenth of the time, without gradients, and with the
same result to rounding. Import its module where it is called: numba takes half a second to load.
"""

import functools
import logging

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def compiled_for(*tensors: Tensor) -> bool:
    """Return whether kernels serve these tensors: float32 on the CPU, and no gradient wanted."""
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and _can_compile()
    )


@functools.cache
def _can_compile() -> bool:
    """Return whether numba is there and allowed to compile; without it nothing fails."""
    try:
        from numba.core import config
    except ImportError as error:
        logger.warning("numba cannot be used (%s): motion is measured three times as slowly", error)
        return False
    return not getattr(config, "DISABLE_JIT", False)
