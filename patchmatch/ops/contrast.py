"""Contrast made even, so that light and shade count little."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CELL = 4  # pixels: the statistics of ``normalize_contrast`` are taken over 3x3 cells of this side


def local_contrast_normalization(
    images: Float[Tensor, "B C H W"], window: int, softening: float = 0.02
) -> Float[Tensor, "B C H W"]:
    """Subtract the mean around every pixel and divide by the standard deviation there.

    The arguments are those of ``local_contrast_and_gain``.
    """
    return local_contrast_and_gain(images, window, softening)[0]


def local_contrast_and_gain(
    images: Float[Tensor, "B C H W"], window: int, softening: float = 0.02
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]]:
    """Return images of even contrast, and by how much each pixel was amplified.

    Args:
        images: Any channels.
        window: Side of the square in which mean and deviation are taken, odd; of what lies beyond
            the border nothing counts.
        softening: Least deviation, so that noise stays small.
    """

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)

    centre = mean(images)
    variance = (mean(images**2) - centre**2).clamp_min(0)
    gain = (variance + softening**2).rsqrt()
    return (images - centre) * gain, gain


def normalize_contrast(
    image: Float[Tensor, "B 1 H W"], floor: float = 0.01
) -> Float[Tensor, "B 1 H W"]:
    """Subtract the local mean and divide by the local standard deviation, computed in tiles.

    They are those of 12x12 pixels around each cell of 4x4, interpolated between cells, which costs
    a tenth of ``local_contrast_normalization``. Motion by fractions of a tile
    changes it a little.

    Args:
        image: Gray, in [0, 1].
        floor: Added to the standard deviation, so that noise in a plain area stays small.
    """
    height, width = image.shape[-2:]
    padded = image
    if height % CELL or width % CELL:
        padded = F.pad(image, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    moments = torch.cat([F.avg_pool2d(x, CELL) for x in (padded, padded * padded)], dim=1)
    moments = F.avg_pool2d(F.pad(moments, (1,) * 4, mode="replicate"), 3, 1)
    mean, square = moments.chunk(2, dim=1)
    gain = ((square - mean * mean).clamp_min(0).sqrt() + floor).reciprocal()
    fine = F.interpolate(
        torch.cat([-mean * gain, gain], dim=1),
        scale_factor=CELL,
        mode="bilinear",
        align_corners=False,
    )[..., :height, :width]
    return torch.addcmul(fine[:, :1], image, fine[:, 1:])
