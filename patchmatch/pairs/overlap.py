"""The overlap of two images under a homography, cut out of both at one resolution."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import resize_homography, warp_points

LATTICE = 33  # points along each side of image 0 that locate the overlap


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Image 0 in the box of the overlap, and image 1, at about one resolution in the overlap.

    Attributes:
        image0: (1, 2, h, w), gray values and mask of the box.
        image1: (1, 2, h1, w1), gray values and mask of the whole image, resized.
        homography: (3, 3) double, maps points of ``image0`` to ``image1``.
        to_image0: (3, 3) double, maps points of ``image0`` to the original image 0.
        to_image1: (3, 3) double, the same for ``image1``.
    """

    image0: Tensor
    image1: Tensor
    homography: Tensor
    to_image0: Tensor
    to_image1: Tensor


def crop_overlap(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    side: int,
    valid0: Bool[Tensor, "1 H W"] | None = None,
    valid1: Bool[Tensor, "1 H1 W1"] | None = None,
) -> Overlap | None:
    """Return the overlap of two images at the resolution of the one that is coarser in it.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.
        side: Longest side of the box in pixels; a larger overlap is downscaled.
        valid0: Pixels of image 0 that count; None for all.
        valid1: The same for image 1.

    Returns:
        The overlap; None without one.
    """
    masked0, masked1 = _with_mask(image0, valid0), _with_mask(image1, valid1)
    size0, size1 = _size(image0), _size(image1)
    homography = homography.double().cpu()
    y, x = (torch.linspace(0, side0 - 1, LATTICE, dtype=torch.float64) for side0 in size0)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
    points1, last = warp_points(homography, points), homography.new_tensor([size1[1], size1[0]])
    depth = points @ homography[2, :2] + homography[2, 2]
    inside = ((points1 >= -0.5) & (points1 <= last - 0.5)).all(dim=1)
    inside &= depth * depth.median() > 0  # points beyond infinity appear mirrored
    if not inside.any():
        return None
    low, high = points[inside].amin(dim=0), points[inside].amax(dim=0)
    magnification = (homography.det() / depth[inside] ** 3).abs().sqrt().median().item()
    if not 0 < magnification < math.inf:
        return None
    scale0 = min(1.0, side / float((high - low).amax() + 1), magnification)
    small0, small1 = _scaled(masked0, scale0), _scaled(masked1, min(1.0, scale0 / magnification))
    to_small0 = resize_homography(size0, _size(small0))
    to_small1 = resize_homography(size1, _size(small1))
    corners = warp_points(to_small0, torch.stack([low, high]))
    left, top = corners[0].floor().clamp_min(0).int().tolist()
    right, bottom = (corners[1].ceil() + 1).int().tolist()
    to_small = homography.new_tensor([[1, 0, left], [0, 1, top], [0, 0, 1]])
    to_image0 = to_small0.inverse() @ to_small
    return Overlap(
        image0=small0[..., top:bottom, left:right],
        image1=small1,
        homography=to_small1 @ homography @ to_image0,
        to_image0=to_image0,
        to_image1=to_small1.inverse(),
    )


def _with_mask(image: Tensor, valid: Tensor | None) -> Float[Tensor, "1 2 H W"]:
    """Return an image and its mask as two channels."""
    mask = torch.ones_like(image) if valid is None else valid[:, None].to(image)
    return torch.cat([image, mask], dim=1)


def _scaled(image: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
