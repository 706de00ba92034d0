"""Local contrast normalisation, for invariance to illumination."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TILE = 4  # pixels; ``normalize_contrast`` computes its statistics over 3x3 tiles of this side


def local_contrast_normalization(
    images: Float[Tensor, "B C H W"], window: int, softening: float = 0.02
) -> Float[Tensor, "B C H W"]:
    """Subtract the local mean of every pixel and divide by the local standard deviation.

    The arguments are those of ``local_contrast_and_gain``.
    """
    return local_contrast_and_gain(images, window, softening)[0]


def local_contrast_and_gain(
    images: Float[Tensor, "B C H W"], window: int, softening: float = 0.02
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]]:
    """Return images of normalised local contrast, and the gain of every pixel.

    Args:
        images: Any number of channels; each is normalised by itself.
        window: Side of the window of mean and standard deviation, odd; pixels beyond the border
            are ignored.
        softening: Its square is added to the variance, which limits the gain of noise.
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
    """Subtract the local mean and divide by the local standard deviation, computed per tile.

    The statistics cover 12x12 pixels around each tile of 4x4 and are interpolated between tiles,
    which takes a tenth of the time of ``local_contrast_normalization``. The result is not exactly
    equivariant to shifts by fractions of a tile.

    Args:
        image: Gray, in [0, 1].
        floor: Added to the standard deviation, which limits the gain in uniform areas.
    """
    height, width = image.shape[-2:]
    padded = image
    if height % TILE or width % TILE:
        padded = F.pad(image, (0, -width % TILE, 0, -height % TILE), mode="replicate")
    moments = torch.cat([F.avg_pool2d(x, TILE) for x in (padded, padded * padded)], dim=1)
    moments = F.avg_pool2d(F.pad(moments, (1,) * 4, mode="replicate"), 3, 1)
    mean, square = moments.chunk(2, dim=1)
    gain = ((square - mean * mean).clamp_min(0).sqrt() + floor).reciprocal()
    fine = F.interpolate(
        torch.cat([-mean * gain, gain], dim=1),
        scale_factor=TILE,
        mode="bilinear",
        align_corners=False,
    )[..., :height, :width]
    return torch.addcmul(fine[:, :1], image, fine[:, 1:])
