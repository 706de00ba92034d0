"""Checks of tensor values."""

import torch
from torch import Tensor


def require_finite(values: Tensor, name: str) -> None:
    """Raise ValueError if ``values`` contains NaN or infinite values."""
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} contains NaN or infinite values")
