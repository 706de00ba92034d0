"""Images between their pixels."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import warp_points


def sample_at(
    image: Float[Tensor, "B C H W"], points: Float[Tensor, "B N 2"], beyond: str = "border"
) -> Float[Tensor, "B C N"]:
    """Return what an image shows at points between pixels, bilinearly interpolated.

    Args:
        image: Any values.
        points: x and y in pixels.
        beyond: What lies beyond the image: ``border``, the nearest pixel, or ``zeros``.
    """
    if beyond not in ("border", "zeros"):
        raise ValueError(f"beyond must be border or zeros, got {beyond}")
    size = points.new_tensor([image.shape[-1], image.shape[-2]])
    grid = ((2 * points + 1) / size - 1)[:, :, None]  # (B, N, 1, 2)
    return F.grid_sample(image, grid, padding_mode=beyond, align_corners=False)[..., 0]


def lagrange_weights(fraction: Float[Tensor, "*N"], taps: int) -> Float[Tensor, "*N taps"]:
    """Return by what to blend pixels side by side to read between the middle two of them.

    Lagrange's are exact for polynomials of the highest degree that so many can be (Schafer and
    Rabiner, "A digital signal processing approach to interpolation", Proceedings of the IEEE 1973).
    Two, a line, move a wave of six pixels by up to 0.019 pixels, six by 0.001.

    Args:
        fraction: From the left one of the middle two pixels to the right one, 0 to 1.
        taps: How many pixels, an even number.
    """
    places = torch.arange(taps, device=fraction.device) - (taps // 2 - 1)
    itself = torch.eye(taps, dtype=torch.bool, device=fraction.device)
    apart = (fraction[..., None] - places)[..., None, :]  # (*N, 1, taps)
    between = (places[:, None] - places).masked_fill(itself, 1)
    return (apart / between).masked_fill(itself, 1).prod(dim=-1)


def warp_by_homography(
    image1: Float[Tensor, "B C H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    height: int,
    width: int,
) -> Float[Tensor, "B C height width"]:
    """Resample image 1 onto the grid of image 0; what it does not show is zero.

    Args:
        image1: What the homography points into.
        homography: Takes points of image 0 to image 1.
        height: Of image 0.
        width: Of image 0.
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=image1.device),
        torch.arange(width, device=image1.device),
        indexing="ij",
    )
    grid = torch.stack([x, y], dim=-1).flatten(0, 1).to(homography)
    points = warp_points(homography, grid.expand(len(image1), -1, -1))
    # what goes to infinity is nowhere in image 1
    points = points.nan_to_num(-1e6, -1e6, -1e6).clamp(-1e6, 1e6).to(image1)
    return sample_at(image1, points, "zeros").unflatten(2, (height, width))
