"""Compiled loops of the motion network, for the CPU without gradients.

A kernel makes one pass over the pixels where a dozen tensor operations each write their result to
memory; that takes a tenth of the time. Results agree with the tensor operations up to rounding,
which areas without texture amplify. ``patchmatch.motion.compiled`` calls the kernels. Import it
inside functions: importing numba takes half a second.
"""

import functools
import warnings

import torch
from torch import Tensor


def compiled_for(*tensors: Tensor) -> bool:
    """Return whether the kernels support the tensors: float32 on the CPU, without gradients."""
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_exporting()
        and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and _can_compile()
    )


@functools.cache
def _can_compile() -> bool:
    """Return whether numba is installed and enabled; without it the tensor operations run."""
    try:
        from numba.core import config
    except ImportError as error:
        text = f"numba cannot be used ({error}); motion matching is five times slower"
        warnings.warn(text, stacklevel=2)
        return False
    return not getattr(config, "DISABLE_JIT", False)
