"""Hand-crafted features: opponent colours and histograms of gradient orientations."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_NUM_ORIENTATIONS = 8


def opponent_colors(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return the channels intensity, red - green, and blue - yellow of RGB images."""
    red, green, blue = images.unbind(dim=1)
    channels = ((red + green + blue) / 3, (red - green) / 2, (blue - (red + green) / 2) / 2)
    return torch.stack(channels, dim=1)


def orientation_histograms(
    images: Float[Tensor, "B 3 H W"], cell: int, epsilon: float = 0.02
) -> Float[Tensor, "B orientations _ _"]:
    """Return histograms of signed gradient orientations (Dalal and Triggs, CVPR 2005).

    Each pixel uses the colour channel with the largest gradient magnitude, and distributes that
    magnitude linearly over the two nearest orientations. Each histogram is averaged over, and
    normalised by the gradient magnitude of, the 3x3 cells around it.

    Args:
        images: RGB in [0, 1].
        cell: Side of a cell in pixels.
        epsilon: Added to the magnitude before the division; suppresses the noise of flat cells.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    strongest = (dx**2 + dy**2).argmax(dim=1, keepdim=True)
    dx, dy = dx.gather(1, strongest), dy.gather(1, strongest)  # (B, 1, H, W)
    magnitude = (dx**2 + dy**2).sqrt()
    orientation = torch.atan2(dy, dx) / (2 * math.pi) * _NUM_ORIENTATIONS
    bins = torch.arange(_NUM_ORIENTATIONS, device=images.device)[:, None, None]
    distance = (orientation - bins).remainder(_NUM_ORIENTATIONS)
    weight = (1 - torch.minimum(distance, _NUM_ORIENTATIONS - distance)).clamp_min(0)
    histograms = F.avg_pool2d(magnitude * weight, cell)  # (B, orientations, h, w)
    histograms = F.avg_pool2d(histograms, 3, 1, 1, count_include_pad=False)
    total = F.avg_pool2d(histograms.sum(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return (histograms / (total + epsilon)).sqrt()
