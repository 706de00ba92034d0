"""Checks of tensor values."""

from collections.abc import Sequence

import torch
from torch import Tensor


def require_finite(values: Tensor, name: str) -> None:
    """Raise ValueError if ``values`` contains NaN or infinite values."""
    # A finite sum, which takes a tenth of the time, contains neither.
    if not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
        raise ValueError(f"{name} contains NaN or infinite values")


def require_finite_each(frames: Sequence[Tensor], names: Sequence[str]) -> None:
    """Raise ValueError if one of the frames contains NaN or infinite values."""
    for name, frame in zip(names, frames, strict=True):
        require_finite(frame, f"frame {name}")
