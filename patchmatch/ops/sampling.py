"""Interpolation of images between pixels."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import warp_points


def bilinear_sample(
    image: Float[Tensor, "B C H W"], points: Float[Tensor, "B N 2"], padding_mode: str = "border"
) -> Float[Tensor, "B C N"]:
    """Sample an image at points by bilinear interpolation.

    Args:
        image: Any values.
        points: x and y in pixels.
        padding_mode: Values outside the image: ``border``, the nearest pixel, or ``zeros``.
    """
    if padding_mode not in ("border", "zeros"):
        raise ValueError(f"padding_mode must be border or zeros, got {padding_mode}")
    size = points.new_tensor([image.shape[-1], image.shape[-2]])
    grid = ((2 * points + 1) / size - 1)[:, :, None]  # (B, N, 1, 2)
    return F.grid_sample(image, grid, padding_mode=padding_mode, align_corners=False)[..., 0]


def lagrange_weights(fraction: Float[Tensor, "*N"], taps: int) -> Float[Tensor, "*N taps"]:
    """Return the weights of adjacent pixels in Lagrange interpolation between the middle two.

    Exact for polynomials of degree below ``taps`` (Schafer and Rabiner, "A digital signal
    processing approach to interpolation", Proceedings of the IEEE 1973). A wave with a period of
    six pixels is displaced by up to 0.019 pixels with two taps (linear interpolation) and by up to
    0.001 pixels with six.

    Args:
        fraction: Position between the left and the right one of the middle two pixels, 0 to 1.
        taps: Number of pixels, even.
    """
    positions = torch.arange(taps, device=fraction.device) - (taps // 2 - 1)
    diagonal = torch.eye(taps, dtype=torch.bool, device=fraction.device)
    numerator = (fraction[..., None] - positions)[..., None, :]  # (*N, 1, taps)
    denominator = (positions[:, None] - positions).masked_fill(diagonal, 1)
    return (numerator / denominator).masked_fill(diagonal, 1).prod(dim=-1)


def warp_by_homography(
    image1: Float[Tensor, "B C H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "B C height width"], Float[Tensor, "B 1 height width"]]:
    """Resample image 1 onto the grid of image 0; pixels outside image 1 are zero.

    Args:
        image1: The image the homography points into.
        homography: Maps points of image 0 to image 1.
        height: Height of image 0.
        width: Width of image 0.

    Returns:
        The warped image, and the coverage in [0, 1]: the interpolation weight inside image 1.
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=image1.device),
        torch.arange(width, device=image1.device),
        indexing="ij",
    )
    grid = torch.stack([x, y], dim=-1).flatten(0, 1).to(homography)  # (height * width, 2)
    points = warp_points(homography, grid.expand(len(image1), -1, -1))
    # Points at infinity are outside image 1.
    points = points.nan_to_num(-1e6, -1e6, -1e6).clamp(-1e6, 1e6).to(image1)
    with_ones = torch.cat([image1, torch.ones_like(image1[:, :1])], dim=1)
    sampled = bilinear_sample(with_ones, points, "zeros").unflatten(2, (height, width))
    return sampled[:, :-1], sampled[:, -1:]
