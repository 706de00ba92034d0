"""Images in every form that a caller may have them in."""

from pathlib import Path

import numpy as np
import torch

from patchmatch.io import read_image

Image = str | Path | np.ndarray | torch.Tensor


def as_image(image: Image, name: str) -> torch.Tensor:
    """Return an image as (C, H, W) float32, or refuse it."""
    given = read_image(image) if isinstance(image, str | Path) else image
    array = isinstance(given, np.ndarray)
    # torch does not take views that run backwards, such as BGR read as RGB
    tensor = torch.as_tensor(given.copy() if array else given)
    tensor = tensor.movedim(-1, 0) if array and tensor.ndim == 3 else tensor
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    tensor = tensor[0] if not array and tensor.ndim == 4 and len(tensor) == 1 else tensor
    if tensor.ndim != 3 or (array and tensor.shape[0] not in (1, 3)):
        shape = tuple(given.shape)
        raise ValueError(f"{name} must be (H, W), (H, W, 3) or a tensor (C, H, W), got {shape}")
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(tensor.dtype, 1)
    if largest == 1 and not tensor.is_floating_point():
        raise ValueError(f"{name} must be uint8, uint16 or float, got {tensor.dtype}; convert it")
    tensor = tensor.detach().float() / largest
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
    return tensor
