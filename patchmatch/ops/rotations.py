"""Filters that turn: circular harmonics, and convolution over a group of rotations.

A field is a feature seen under R rotations; its maps lie side by side, (B, C R, H, W). Rotations
are counterclockwise as seen on the screen, where y points down, as ``torch.rot90`` turns rows over
columns.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

RING = 0.7  # pixels: standard deviation of a ring of a filter across its radius


def circular_harmonics(size: int, rotations: int) -> Float[Tensor, "R M K K"]:
    """Return filters of which any turned filter is a sum, under each rotation.

    Rings of radius 0, 1, ... times waves around the centre (steerable filters, Weiler et al. 2018,
    equation 4): turned by any angle, a wave is sampled anew, nothing is interpolated. A ring has at
    most as many waves as pixels of radius, and the outermost pixels of a window of 5 or more only
    the tail of one, since more would look different on the diagonals. Each has length one.

    Args:
        size: Side K of the filters, odd.
        rotations: How many rotations R a full turn has.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be an odd number of pixels, got {size}")
    if rotations < 1:
        raise ValueError(f"rotations must be at least 1, got {rotations}")
    reach = size // 2
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    down, right = torch.meshgrid(place, place, indexing="ij")  # each (K, K)
    radius, angle = torch.hypot(down, right), torch.atan2(-down, right)
    turned = []
    for step in range(rotations):
        theta = angle - 2 * math.pi * step / rotations
        waves = []
        for ring in range(min(reach, max(1, reach - 1)) + 1):
            profile = torch.exp(-((radius - ring) ** 2) / (2 * RING**2))
            waves.append(profile)
            around = profile * (radius > 0)  # a wave has no value at the centre
            for frequency in range(1, ring + 1):
                waves.append(around * (frequency * theta).cos())
                waves.append(around * (frequency * theta).sin())
        turned.append(torch.stack(waves))  # (M, K, K)
    lengths = turned[0].flatten(1).norm(dim=1).view(1, -1, 1, 1)
    return (torch.stack(turned) / lengths).float()


def lifting_filters(
    weight: Float[Tensor, "O I M"], harmonics: Float[Tensor, "R M K K"]
) -> Float[Tensor, "OR I K K"]:
    """Return the filters that see an image under every rotation: from I channels to O fields.

    Args:
        weight: How much of each harmonic a filter has.
        harmonics: Of ``circular_harmonics``.
    """
    filters = torch.einsum("oim,rmyx->oriyx", weight, harmonics)
    return filters.flatten(0, 1)  # (O R, I, K, K)


def group_filters(
    weight: Float[Tensor, "O I R M"], harmonics: Float[Tensor, "R M K K"]
) -> Float[Tensor, "OR IR K K"]:
    """Return the filters of a group convolution from I fields to O fields (Cohen and Welling 2016).

    Output r sees input s turned by r, through the weights of the rotation s - r between them.

    Args:
        weight: Of each output and input field, for each rotation between the two.
        harmonics: Of ``circular_harmonics``.
    """
    rotations = len(harmonics)
    turned = [
        torch.einsum("oism,myx->oisyx", weight.roll(step, dims=2), harmonics[step])
        for step in range(rotations)
    ]
    filters = torch.stack(turned, dim=1)  # (O, R, I, R, K, K)
    return filters.flatten(2, 3).flatten(0, 1)  # (O R, I R, K, K)


def pool_rotations(fields: Float[Tensor, "B CR H W"], rotations: int) -> Float[Tensor, "B C H W"]:
    """Return the strongest answer over all rotations: what does not change as an image turns."""
    return fields.unflatten(1, (-1, rotations)).amax(dim=2)


def doubled(maps: Float[Tensor, "B C h w"], height: int, width: int) -> Float[Tensor, "B C H W"]:
    """Return maps at twice the size: place x lies on place x / 2, also where the image is turned.

    Args:
        maps: What every second place of the larger maps has.
        height: Of the larger maps, 2 h or 2 h - 1.
        width: The same, 2 w or 2 w - 1; with one more the last place is repeated.
    """
    size = 2 * maps.shape[-2] - 1, 2 * maps.shape[-1] - 1
    large = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    return F.pad(large, (0, width - size[1], 0, height - size[0]), mode="replicate")
