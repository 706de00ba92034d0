"""The one place where an image of the caller becomes a tensor."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from patchmatch import io
from patchmatch.io import pil_to_array, read_image, stretch_window, to_float
from patchmatch.ops.finite import require_finite

#: What every public function accepts as an image.
Image = str | Path | np.ndarray | Tensor | PIL.Image.Image

# Of float images: noise may exceed [0, 1] a little, gray levels of 0 to 255 far exceed it.
_LOWEST, _HIGHEST = -1, 2


def to_tensor(image: Image, name: str = "image") -> Tensor:
    """Convert an image to a tensor (1, C, H, W), see ``to_tensors``."""
    return to_tensors({name: image})[0]


def to_tensors(images: Mapping[str, Image], *, features: bool = False) -> list[Tensor]:
    """Convert images to tensors (1, C, H, W) of float32 in [0, 1], C = 1 (gray) or 3 (RGB).

    16-bit images that use a small part of their range are stretched alike, see
    ``io.stretch_window``.

    Args:
        images: The images by the names of their arguments, for error messages. An image is a path;
            a PIL image, whose EXIF orientation is applied; an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) of bool, uint8, uint16 or float; or a tensor of these shapes, (C, H, W) or
            (1, C, H, W). Alpha is dropped.
        features: Also accept a float tensor (C, H, W) or (1, C, H, W) with any number of channels
            and any finite values, such as a feature map.

    Returns:
        New tensors, on the device of an image if that is a float tensor, else on the CPU.

    Raises:
        ValueError: If the shape, the dtype or the values are not those of an image.
        InputError: If a file cannot be read.
    """
    pixels = {name: _pixels(image, name, features) for name, image in images.items()}
    limits = {
        name: None if features and _is_float(values) else (_LOWEST, _HIGHEST)
        for name, values in pixels.items()
    }
    window = stretch_window(*(v for v in pixels.values() if isinstance(v, np.ndarray)))
    tensors = (scaled(v, name, limits[name], window) for name, v in pixels.items())
    return [tensor.permute(2, 0, 1)[None].contiguous() for tensor in tensors]


def scaled(
    values: np.ndarray | Tensor,
    name: str,
    limits: tuple[float, float] | None = (_LOWEST, _HIGHEST),
    window: tuple[int, int] | None = None,
) -> Tensor:
    """Return values of any shape as a new float32 tensor in [0, 1].

    Args:
        values: bool, uint8, uint16 or float.
        name: Name of the argument in error messages.
        limits: Smallest and largest value of a float array; None for no limits.
        window: Range of uint16 values, see ``io.to_float``.

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
        values = torch.from_numpy(to_float(values, window))
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


def to_rgb(image: Image, name: str = "image") -> Tensor:
    """Convert an image to an RGB tensor (1, 3, H, W) of float32, see ``to_tensor``."""
    return to_tensor(image, name).expand(-1, 3, -1, -1).contiguous()


def to_mask(mask: Image, name: str, size: tuple[int, int] | torch.Size | None = None) -> Tensor:
    """Convert a mask to (1, H, W) bool, True where it is brighter than half of its brightest pixel.

    Args:
        mask: An image, or an array or tensor of bool or of integers 0 and 1.
        name: Name of the argument in error messages.
        size: Height and width that the mask must have; None for any.
    """
    if isinstance(mask, Tensor) and not mask.is_floating_point():
        mask = mask.cpu().numpy()
    if isinstance(mask, np.ndarray) and mask.dtype.kind in "iu" and mask.max(initial=0) <= 1:
        mask = mask > 0
    pixels = to_tensor(mask, name)[0].permute(1, 2, 0).cpu().numpy()
    values = torch.from_numpy(io.to_mask(pixels[..., 0] if pixels.shape[2] == 1 else pixels))[None]
    if size is not None and values.shape[1:] != tuple(size):
        (height, width), (rows, columns) = size, values.shape[1:]
        raise ValueError(
            f"{name} must have the size of its image, {width}x{height}, got {columns}x{rows}"
        )
    return values


def to_opacity(image: Image) -> Tensor | None:
    """Return where an image is more opaque than transparent, (H, W) bool; None without alpha."""
    if isinstance(image, str | Path):
        opaque = io.read_opacity(image)
    elif isinstance(image, PIL.Image.Image):
        opaque = io.pil_opacity(image)
    elif isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 4:
        opaque = io.to_float(image[..., 3], (0, 2**16)) > 0.5
    else:
        return None
    return None if opaque is None or opaque.all() else torch.from_numpy(opaque)


def _pixels(image: Image, name: str, features: bool) -> np.ndarray | Tensor:
    """Return the pixels (H, W, C) of an image, C = 1 or 3; of a feature map any C."""
    shape = getattr(image, "shape", ())
    if isinstance(image, Tensor):
        values = _channels_last(image.detach(), features)
        values = values if values.is_floating_point() else values.cpu().numpy()
    elif isinstance(image, str | Path):
        values = read_image(image)
    elif isinstance(image, PIL.Image.Image):
        try:
            values = pil_to_array(image)
        except (OSError, SyntaxError, ValueError) as error:  # OSError: truncated, read lazily
            raise ValueError(f"{name}: {error}") from error
    elif isinstance(image, np.ndarray):
        values = image
    else:
        raise ValueError(
            f"{name} must be a path, an array, a tensor or a PIL image, got a "
            f"{type(image).__name__}"
        )
    values = values[..., None] if values.ndim == 2 else values
    is_map = features and _is_float(values)
    if values.ndim != 3 or 0 in values.shape or not (is_map or values.shape[2] in (1, 3, 4)):
        raise ValueError(
            f"{name} must be (H, W), (H, W, 3) or (H, W, 4) with at least one pixel, got "
            f"{tuple(shape)}"
        )
    return values if is_map else values[..., : 1 if values.shape[2] == 1 else 3]


def _is_float(values: np.ndarray | Tensor) -> bool:
    return isinstance(values, Tensor) and values.is_floating_point()


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
