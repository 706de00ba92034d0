"""The one place where an image of the caller becomes a tensor."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from patchmatch.io import pil_to_array, read_image, to_float
from patchmatch.ops.finite import require_finite
from patchmatch.ops.luma import luma

#: What every public function accepts as an image.
Image = str | Path | np.ndarray | Tensor | PIL.Image.Image

# Of float images: noise may exceed [0, 1] a little, gray levels of 0 to 255 far exceed it.
_LOWEST, _HIGHEST = -1, 2


def to_tensor(image: Image, name: str = "image", *, features: bool = False) -> Tensor:
    """Convert an image to a tensor (1, C, H, W) of float32 in [0, 1], C = 1 (gray) or 3 (RGB).

    16-bit images that use a small part of their range are stretched, see ``io.to_float``.

    Args:
        image: A path; a PIL image, whose EXIF orientation is applied; an array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4) of bool, uint8, uint16 or float; or a tensor of these shapes,
            (C, H, W) or (1, C, H, W). Alpha is dropped.
        name: Name of the argument in error messages.
        features: Also accept a float tensor (C, H, W) or (1, C, H, W) with any number of channels
            and any finite values, such as a feature map.

    Returns:
        A new tensor, on the device of ``image`` if that is a float tensor, else on the CPU.

    Raises:
        ValueError: If the shape, the dtype or the values are not those of an image.
        InputError: If a file cannot be read.
    """
    shape = getattr(image, "shape", ())
    if isinstance(image, Tensor):
        values = _channels_last(image.detach(), features)
    elif isinstance(image, str | Path):
        values = read_image(image)
    elif isinstance(image, PIL.Image.Image):
        try:
            values = pil_to_array(image)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    elif isinstance(image, np.ndarray):
        values = image
    else:
        raise ValueError(
            f"{name} must be a path, an array, a tensor or a PIL image, got a "
            f"{type(image).__name__}"
        )
    values = values[..., None] if values.ndim == 2 else values
    is_map = features and isinstance(values, Tensor) and values.is_floating_point()
    if values.ndim != 3 or 0 in values.shape or not (is_map or values.shape[2] in (1, 3, 4)):
        raise ValueError(
            f"{name} must be (H, W), (H, W, 3) or (H, W, 4) with at least one pixel, got "
            f"{tuple(shape)}"
        )
    if not is_map:
        values = values[..., : 1 if values.shape[2] == 1 else 3]
    tensor = scaled(values, name, None if is_map else (_LOWEST, _HIGHEST))
    return tensor.permute(2, 0, 1)[None].contiguous()


def scaled(
    values: np.ndarray | Tensor,
    name: str,
    limits: tuple[float, float] | None = (_LOWEST, _HIGHEST),
) -> Tensor:
    """Return values of any shape as a new float32 tensor in [0, 1].

    Args:
        values: bool, uint8, uint16 or float.
        name: Name of the argument in error messages.
        limits: Smallest and largest value of a float array; None for no limits.

    Raises:
        ValueError: If the dtype is another one, or a float value is NaN, infinite or out of range.
    """
    if isinstance(values, Tensor) and not values.is_floating_point():
        values = values.cpu().numpy()
    if isinstance(values, np.ndarray):
        if not (values.dtype in (np.bool_, np.uint8, np.uint16) or values.dtype.kind == "f"):
            raise ValueError(
                f"{name} must be uint8, uint16 or float, got {values.dtype}; convert it with astype"
            )
        values = torch.from_numpy(to_float(values))
    tensor = values.to(torch.float32, copy=True)
    require_finite(tensor, name)
    if limits is not None and tensor.numel():
        low, high = tensor.amin().item(), tensor.amax().item()
        if low < limits[0] or high > limits[1]:
            raise ValueError(
                f"{name} must be float in [0, 1], uint8 or uint16, got values from {low:.3g} to "
                f"{high:.3g}; divide gray levels by 255"
            )
    return tensor


def to_gray(image: Image, name: str = "image") -> Tensor:
    """Convert an image to a gray tensor (1, 1, H, W) of float32, see ``to_tensor``."""
    tensor = to_tensor(image, name)
    return tensor if tensor.shape[1] == 1 else luma(tensor)


def to_rgb(image: Image, name: str = "image") -> Tensor:
    """Convert an image to an RGB tensor (1, 3, H, W) of float32, see ``to_tensor``."""
    return to_tensor(image, name).expand(-1, 3, -1, -1).contiguous()


def to_mask(mask: Image, name: str, size: tuple[int, int] | torch.Size) -> Tensor:
    """Convert a mask to (1, H, W) bool, True where it is brighter than half.

    Args:
        mask: An image, or an array or tensor of bool.
        name: Name of the argument in error messages.
        size: Height and width that the mask must have.
    """
    values = to_tensor(mask, name).mean(dim=1) > 0.5
    if values.shape[1:] != tuple(size):
        (height, width), (rows, columns) = size, values.shape[1:]
        raise ValueError(
            f"{name} must have the size of its image, {width}x{height}, got {columns}x{rows}"
        )
    return values


def _channels_last(tensor: Tensor, features: bool) -> Tensor:
    """Return a tensor image (H, W, C), (C, H, W) or (1, C, H, W) as (H, W, C)."""
    if tensor.ndim == 4 and len(tensor) == 1:
        tensor = tensor[0]
    if tensor.ndim != 3:
        return tensor
    is_last = tensor.shape[2] in (3, 4) and len(tensor) not in (1, 3, 4)
    if not is_last and (features or len(tensor) in (1, 3, 4)):
        return tensor.permute(1, 2, 0)
    return tensor
