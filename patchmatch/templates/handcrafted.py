"""Descriptions of pictures that need no training: colours, and directions of gradients."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_ORIENTATIONS = 8


def opponent_colors(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return brightness, red against green, and blue against both."""
    red, green, blue = images.unbind(dim=1)
    pairs = ((red + green + blue) / 3, (red - green) / 2, (blue - (red + green) / 2) / 2)
    return torch.stack(pairs, dim=1)


def orientation_histograms(
    images: Float[Tensor, "B 3 H W"], cell: int, softening: float = 0.02
) -> Float[Tensor, "B orientations _ _"]:
    """Return how strong the gradients of each direction are in every cell, free of the contrast.

    Of the three colours the strongest gradient counts, shared by the two directions beside it.

    Args:
        images: RGB in [0, 1].
        cell: Side of a cell in pixels.
        softening: Gradient below which a cell counts as plain.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    strongest = (dx**2 + dy**2).argmax(dim=1, keepdim=True)
    dx, dy = dx.gather(1, strongest), dy.gather(1, strongest)  # (B, 1, H, W)
    strength = (dx**2 + dy**2).sqrt()
    turn = torch.atan2(dy, dx) / (2 * math.pi) * _ORIENTATIONS
    directions = torch.arange(_ORIENTATIONS, device=images.device)[:, None, None]
    apart = (turn - directions).remainder(_ORIENTATIONS)
    share = (1 - torch.minimum(apart, _ORIENTATIONS - apart)).clamp_min(0)
    histograms = F.avg_pool2d(strength * share, cell)
    histograms = F.avg_pool2d(histograms, 3, 1, 1, count_include_pad=False)
    around = F.avg_pool2d(histograms.sum(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return (histograms / (around + softening)).sqrt()
