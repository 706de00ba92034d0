"""Images in every form that a caller may have them in."""

from pathlib import Path

import numpy as np
import torch

from patchmatch.io import read_image

Image = str | Path | np.ndarray | torch.Tensor


def as_picture(image: Image, name: str) -> torch.Tensor:
    """Return a picture as (1, C, H, W) float32 in [0, 1], C = 1 or 3, or refuse it.

    Args:
        image: A path, or an array or tensor of (H, W), (H, W, 3) or (H, W, 4), whose alpha is
            dropped; a tensor may have its channels first.
        name: What errors call it.
    """
    if isinstance(image, str | Path):
        image = read_image(image)
    image = _array(image, name)
    shape = tuple(image.shape)
    if isinstance(image, torch.Tensor):
        values = image.detach().cpu()
        values = values.numpy() if values.dtype != torch.bfloat16 else values.float().numpy()
        if values.ndim == 4 and len(values) == 1:
            values = values[0]
        if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (3, 4):
            values = np.moveaxis(values, 0, -1)
    else:
        values = np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or not values.size:
        raise ValueError(
            f"{name} must be (H, W), (H, W, 3) or (H, W, 4) with at least one pixel, got {shape}"
        )
    values = values[..., : 1 if values.shape[2] == 1 else 3]
    if values.dtype.kind in "ub" and values.dtype.itemsize <= 2:
        full = 1 if values.dtype == bool else np.iinfo(values.dtype).max
    elif values.dtype.kind == "f":
        full = 1
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
        if values.max() > 2 or values.min() < -1:
            raise ValueError(
                f"{name} must be in [0, 1] or uint8, got {values.min():.3g} to "
                f"{values.max():.3g}; divide grey levels by 255"
            )
    else:
        raise ValueError(f"{name} must be uint8, uint16 or float, got {values.dtype}; convert it")
    scaled = values.astype(np.float32) / np.float32(full)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(scaled, -1, 0)))[None]


def as_image(image: Image, name: str) -> torch.Tensor:
    """Return an image, or a feature map of any channels and values, as (C, H, W) float32.

    Args:
        image: As ``as_picture`` takes it; a tensor of three or four axes is a feature map (C, H, W)
            or (1, C, H, W), unless only its last axis can be that of colours.
        name: What errors call it.
    """
    if isinstance(image, str | Path):
        return as_picture(image, name)[0]
    image = _array(image, name)
    ends_in_colours = image.ndim == 3 and image.shape[2] in (3, 4)
    if not isinstance(image, torch.Tensor) or (ends_in_colours and len(image) not in (1, 3, 4)):
        return as_picture(image, name)[0]
    tensor = image[0] if image.ndim == 4 and len(image) == 1 else image
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3:
        raise ValueError(f"{name} must be (H, W) or (C, H, W), got {tuple(image.shape)}")
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(tensor.dtype, 1)
    if largest == 1 and not tensor.is_floating_point():
        raise ValueError(f"{name} must be uint8, uint16 or float, got {tensor.dtype}; convert it")
    tensor = tensor.detach().float() / largest
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
    return tensor


def _array(image: object, name: str) -> np.ndarray | torch.Tensor:
    """Return an image as an array or a tensor; Pillow's images become arrays."""
    if isinstance(image, np.ndarray | torch.Tensor):
        return image
    if hasattr(image, "__array_interface__"):
        return np.asarray(image)
    raise ValueError(f"{name} must be a path, an array or a tensor, got a {type(image).__name__}")
