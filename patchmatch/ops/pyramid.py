"""Pyramids of frames, and the contrast in them made even."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CONTRAST_CELL = 4  # pixels: the statistics of contrast are taken over 3x3 cells of this side


def pyramid(image: Float[Tensor, "B C H W"], levels: int) -> list[Float[Tensor, "B C _ _"]]:
    """Halve an image again and again, from full size down.

    A pixel of level l is the mean of 2^l x 2^l pixels, so the centre of pixel x lies at
    ``2^l (x + 1/2) - 1/2`` of the image, and displacements shrink by exactly 2^l. A row or column
    that is odd in number is repeated.
    """
    found = [image]
    for _ in range(levels - 1):
        height, width = image.shape[-2:]
        if height % 2 or width % 2:
            image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        image = F.avg_pool2d(image, 2)
        found.append(image)
    return found


def normalize_contrast(
    image: Float[Tensor, "B 1 H W"], floor: float = 0.01
) -> Float[Tensor, "B 1 H W"]:
    """Subtract the local mean and divide by the local standard deviation.

    The arguments are those of ``contrast_and_gain``.
    """
    return contrast_and_gain(image, floor)[0]


def contrast_and_gain(
    image: Float[Tensor, "B 1 H W"], floor: float = 0.01
) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 _ _"]]:
    """Return an image of even contrast, and by how much each cell of 4x4 pixels was amplified.

    That is told by 12x12 pixels around a cell and interpolated between cells, which costs a tenth
    of a box filter at every pixel.

    Args:
        image: Gray, in [0, 1].
        floor: Added to the standard deviation, so that noise in a plain area stays small.
    """
    height, width = image.shape[-2:]
    if height % CONTRAST_CELL or width % CONTRAST_CELL:
        padded = F.pad(
            image, (0, -width % CONTRAST_CELL, 0, -height % CONTRAST_CELL), mode="replicate"
        )
    else:
        padded = image
    moments = torch.cat([F.avg_pool2d(x, CONTRAST_CELL) for x in (padded, padded * padded)], dim=1)
    moments = F.avg_pool2d(F.pad(moments, (1,) * 4, mode="replicate"), 3, 1)
    mean, square = moments.chunk(2, dim=1)
    gain = ((square - mean * mean).clamp_min(0).sqrt() + floor).reciprocal()
    fine = F.interpolate(
        torch.cat([-mean * gain, gain], dim=1),
        scale_factor=CONTRAST_CELL,
        mode="bilinear",
        align_corners=False,
    )[..., :height, :width]
    return torch.addcmul(fine[:, :1], image, fine[:, 1:]), gain
