"""Resizing, rotating, masking and tiling of images, and the points in them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.luma import to_gray

MAX_SIDE_RATIO = 1.5  # of the longest sides of two images that are downscaled by one factor

Box = tuple[int, int, int, int]  #: x0, y0, x1, y1 in pixels, half-open


def as_gray(image: Tensor) -> Tensor:
    """Convert an RGB or gray image to gray (1, 1, H, W); other shapes raise ValueError."""
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        raise ValueError(
            f"an image must be (1, 1, H, W) gray or (1, 3, H, W) RGB, got {tuple(image.shape)}"
        )
    return to_gray(image)


def as_rgb(image: Tensor) -> Tensor:
    """Convert an RGB or gray image to RGB (1, 3, H, W); gray gives three equal channels."""
    if image.ndim == 4 and image.shape[:2] == (1, 3):
        return image
    return as_gray(image).expand(-1, 3, -1, -1)


def downscale(image: Tensor, max_size: int | None) -> Tensor:
    """Downscale an image (1, C, H, W) until its longest side has at most ``max_size`` pixels."""
    return _resize(image, _downscaling(max(image.shape[-2:]), max_size))


def downscale_pair(image0: Tensor, image1: Tensor, max_size: int | None) -> tuple[Tensor, Tensor]:
    """Downscale two images (1, C, H, W) until their longest sides have at most ``max_size`` pixels.

    Images of similar size are downscaled by one factor, which keeps the scale between them.
    """
    longest0, longest1 = max(image0.shape[-2:]), max(image1.shape[-2:])
    if max(longest0, longest1) > MAX_SIDE_RATIO * min(longest0, longest1):
        return downscale(image0, max_size), downscale(image1, max_size)
    scale = _downscaling(max(longest0, longest1), max_size)
    return _resize(image0, scale), _resize(image1, scale)


def _downscaling(longest: int, max_size: int | None) -> float:
    return min(1.0, (max_size or longest) / longest)


def _resize(image: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="area")  # averages, which prevents aliasing


def resize_mask(valid: Tensor | None, image: Tensor) -> Tensor | None:
    """Return a mask (1, H, W) at the size of an image (1, C, h, w).

    A pixel is valid if more than half of the area it covers is.
    """
    if valid is None or valid.shape[-2:] == image.shape[-2:]:
        return valid
    return F.interpolate(valid[:, None].float(), image.shape[-2:], mode="area")[:, 0] > 0.5


def rescale_points(points: Tensor, size: Sequence[int], new_size: Sequence[int]) -> Tensor:
    """Return points (N, 2) of an image of a size as points of the image resized.

    Args:
        points: x and y in pixels.
        size: Height and width of the image.
        new_size: Height and width after resizing.
    """
    scale = [new_size[1] / size[1], new_size[0] / size[0]]
    return (points + 0.5) * points.new_tensor(scale) - 0.5


def unrotate_points(points: Tensor, shape: Sequence[int], quarters: int) -> Tensor:
    """Return points (N, 2) of ``torch.rot90(image, quarters)`` as points of the image.

    Args:
        points: x and y in the rotated image.
        shape: Shape of the image before rotation, (..., H, W).
        quarters: Number of quarter turns, counterclockwise.
    """
    height, width = shape[-2:]
    x, y = points.unbind(dim=1)
    match quarters:
        case 1:
            x, y = width - 1 - y, x
        case 2:
            x, y = width - 1 - x, height - 1 - y
        case 3:
            x, y = y, height - 1 - x
    return torch.stack([x, y], dim=1)


def inside(points: Tensor, valid: Tensor | None, image: Tensor) -> Tensor:
    """Return which points (N, 2) lie on a valid pixel of an image (1, C, H, W)."""
    height, width = image.shape[-2:]
    x, y = points.round().long().unbind(dim=1)
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    if valid is None:
        return within
    mask = valid[0].cpu()
    return within & mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]


def in_box(points: Tensor, box: Box) -> Tensor:
    """Return which points (N, 2) lie on the pixels of a box."""
    x, y = points.unbind(dim=1)
    x0, y0, x1, y1 = box
    return (x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5)


def tiles(height: int, width: int, side: int | None) -> Iterator[Box]:
    """Yield tiles of about equal size, at most ``side`` pixels a side, row by row."""
    rows, columns = (1 if side is None else -(-length // side) for length in (height, width))
    for row in range(rows):
        for column in range(columns):
            yield (
                width * column // columns,
                height * row // rows,
                width * (column + 1) // columns,
                height * (row + 1) // rows,
            )


def expand_box(box: Box, margin: int, image: Tensor) -> Box:
    """Return a box extended by a margin and clipped to an image (1, C, H, W)."""
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = box
    return (
        max(0, x0 - margin),
        max(0, y0 - margin),
        min(width, x1 + margin),
        min(height, y1 + margin),
    )


def crop(image: Tensor, box: Box) -> Tensor:
    """Return the pixels of a box of an image or mask (..., H, W)."""
    x0, y0, x1, y1 = box
    return image[..., y0:y1, x0:x1]
