"""Rotation-equivariant filters: circular harmonics and group convolution over R rotations.

A feature field holds one feature under R rotations as adjacent channels, (B, C R, H, W). Rotations
are counterclockwise on the screen, where y points down, as in ``torch.rot90`` over rows and
columns.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

RING_SIGMA = 0.7  # pixels: standard deviation of a ring's radial profile


def circular_harmonics(size: int, rotations: int) -> Float[Tensor, "R M K K"]:
    """Return M basis filters of a steerable filter, sampled under each of R rotations.

    Each basis filter is a Gaussian ring of radius 0, 1, ... times an angular wave (Weiler et al.
    2018, equation 4). A rotation samples the wave at other angles, without interpolation. The
    frequency is at most the radius in pixels. Filters of 5 pixels or more have no ring at the
    outermost radius, which would look different on the diagonals. Each basis filter has unit norm.

    Args:
        size: Side K of the filters in pixels, odd.
        rotations: Number R of rotations in a full turn.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be an odd number of pixels, got {size}")
    if rotations < 1:
        raise ValueError(f"rotations must be at least 1, got {rotations}")
    half = size // 2
    offset = torch.arange(-half, half + 1, dtype=torch.float64)
    down, right = torch.meshgrid(offset, offset, indexing="ij")  # each (K, K)
    radius, angle = torch.hypot(down, right), torch.atan2(-down, right)
    rotated = []
    for step in range(rotations):
        theta = angle - 2 * math.pi * step / rotations
        basis = []
        for ring in range(min(half, max(1, half - 1)) + 1):
            profile = torch.exp(-((radius - ring) ** 2) / (2 * RING_SIGMA**2))
            basis.append(profile)
            off_centre = profile * (radius > 0)  # the angle is undefined at the centre
            for frequency in range(1, ring + 1):
                basis.append(off_centre * (frequency * theta).cos())
                basis.append(off_centre * (frequency * theta).sin())
        rotated.append(torch.stack(basis))  # (M, K, K)
    norms = rotated[0].flatten(1).norm(dim=1).view(1, -1, 1, 1)
    return (torch.stack(rotated) / norms).float()


def lifting_filters(
    weight: Float[Tensor, "O I M"], harmonics: Float[Tensor, "R M K K"]
) -> Float[Tensor, "OR I K K"]:
    """Return the filters of a lifting convolution from I image channels to O feature fields.

    Args:
        weight: Coefficients of the harmonics.
        harmonics: Result of ``circular_harmonics``.
    """
    filters = torch.einsum("oim,rmyx->oriyx", weight, harmonics)
    return filters.flatten(0, 1)  # (O R, I, K, K)


def group_filters(
    weight: Float[Tensor, "O I R M"], harmonics: Float[Tensor, "R M K K"]
) -> Float[Tensor, "OR IR K K"]:
    """Return the filters of a group convolution from I fields to O fields (Cohen and Welling 2016).

    The filter from input rotation s to output rotation r has the weights of the relative rotation
    s - r, rotated by r.

    Args:
        weight: Coefficients of the harmonics for each output field, input field and relative
            rotation.
        harmonics: Result of ``circular_harmonics``.
    """
    rotated = [
        torch.einsum("oism,myx->oisyx", weight.roll(step, dims=2), basis)
        for step, basis in enumerate(harmonics)
    ]
    filters = torch.stack(rotated, dim=1)  # (O, R, I, R, K, K)
    return filters.flatten(2, 3).flatten(0, 1)  # (O R, I R, K, K)


def pool_rotations(fields: Float[Tensor, "B CR H W"], rotations: int) -> Float[Tensor, "B C H W"]:
    """Return the maximum over the rotations of each field, which is rotation-invariant."""
    return fields.unflatten(1, (-1, rotations)).amax(dim=2)


def upsample_twofold(
    maps: Float[Tensor, "B C h w"], height: int, width: int
) -> Float[Tensor, "B C H W"]:
    """Upsample feature maps by two: position x of the result is position x / 2 of ``maps``.

    This alignment commutes with quarter turns where the larger sides are odd.

    Args:
        maps: Feature maps at stride 2 of the result.
        height: Height of the result, 2 h or 2 h - 1.
        width: Width of the result, 2 w or 2 w - 1. An even size repeats the last row or column.
    """
    size = 2 * maps.shape[-2] - 1, 2 * maps.shape[-1] - 1
    large = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    return F.pad(large, (0, width - size[1], 0, height - size[0]), mode="replicate")
