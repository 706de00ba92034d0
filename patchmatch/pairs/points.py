"""Points of pictures that were made gray, reduced, turned or masked, and back."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.luma import luma

ALIKE = 1.5  # ratio of the sides of two images up to which one camera may have taken both


def as_gray(image: Tensor) -> Tensor:
    """Return an image (1, 1, H, W) of a gray or RGB one, or refuse it."""
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        raise ValueError(
            f"an image must be (1, 1, H, W) gray or (1, 3, H, W) RGB, got {tuple(image.shape)}"
        )
    return image if image.shape[1] == 1 else luma(image)


def reduced(image: Tensor, max_size: int | None) -> Tensor:
    """Return an image (1, C, H, W) whose longest side has at most so many pixels."""
    longest = max(image.shape[-2:])
    return _resized(image, min(1.0, (max_size or longest) / longest))


def reduced_pair(image0: Tensor, image1: Tensor, max_size: int | None) -> tuple[Tensor, Tensor]:
    """Reduce two images (1, C, H, W) until the longest side of each has at most so many pixels.

    By one factor, which keeps things as large beside each other, where they are about as large.
    """
    longest0, longest1 = max(image0.shape[-2:]), max(image1.shape[-2:])
    if max(longest0, longest1) > ALIKE * min(longest0, longest1):
        return reduced(image0, max_size), reduced(image1, max_size)
    largest = max(longest0, longest1)
    scale = min(1.0, (max_size or largest) / largest)
    return _resized(image0, scale), _resized(image1, scale)


def _resized(image: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    # "area" averages the pixels that fall together, so fine texture does not alias
    return F.interpolate(image, size, mode="area")


def resized_mask(valid: Tensor | None, image: Tensor) -> Tensor | None:
    """Return a mask (1, H, W) in the size of an image (1, C, h, w); half covered does not count."""
    if valid is None or valid.shape[-2:] == image.shape[-2:]:
        return valid
    return F.interpolate(valid[:, None].float(), image.shape[-2:], mode="area")[:, 0] > 0.5


def enlarged(points: Tensor, image: Tensor, size: Any) -> Tensor:
    """Return points of an image as points of that of ``size``, height and width, it came from."""
    scale = [size[1] / image.shape[-1], size[0] / image.shape[-2]]
    return (points + 0.5) * points.new_tensor(scale) - 0.5


def turned_back(points: Tensor, shape: Any, turns: int) -> Tensor:
    """Return points of an image that was turned by ``torch.rot90`` as points of the image."""
    height, width = shape[-2:]
    x, y = points.unbind(dim=1)
    match turns:
        case 1:  # the top right corner has become the top left one
            x, y = width - 1 - y, x
        case 2:
            x, y = width - 1 - x, height - 1 - y
        case 3:
            x, y = y, height - 1 - x
    return torch.stack([x, y], dim=1)


def inside(points: Tensor, valid: Tensor | None, image: Tensor) -> Tensor:
    """Return which points lie in an image (1, C, H, W), on a pixel that counts."""
    height, width = image.shape[-2:]
    x, y = points.round().long().unbind(dim=1)
    there = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    if valid is None:
        return there
    mask = valid[0].cpu()
    return there & mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]


def within(points: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Return which points lie on the pixels of a box, given as x0, y0, x1, y1."""
    x, y = points.unbind(dim=1)
    x0, y0, x1, y1 = box
    return (x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5)


def tiles(height: int, width: int, side: int | None) -> Iterator[tuple[int, int, int, int]]:
    """Yield equal tiles as boxes x0, y0, x1, y1, at most ``side`` pixels a side, row by row."""
    rows, columns = (1 if side is None else -(-length // side) for length in (height, width))
    for row in range(rows):
        for column in range(columns):
            yield (
                width * column // columns,
                height * row // rows,
                width * (column + 1) // columns,
                height * (row + 1) // rows,
            )


def widened(
    box: tuple[int, int, int, int], margin: int, image: Tensor
) -> tuple[int, int, int, int]:
    """Return a box with a margin around it, as far as the image (1, C, H, W) has pixels."""
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = box
    return (
        max(0, x0 - margin),
        max(0, y0 - margin),
        min(width, x1 + margin),
        min(height, y1 + margin),
    )


def crop(image: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Return the pixels of a box of an image or mask (..., H, W)."""
    x0, y0, x1, y1 = box
    return image[..., y0:y1, x0:x1]
