"""The overlap of two images as two square views, as the network takes them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.homography import resize_homography
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.overlap import crop_overlap

FINE = 4  # times the side of a view: resolution at which image 1 is warped, before downscaling


@dataclass(frozen=True, kw_only=True)
class Views:
    """Image 0 in the box of the overlap, and image 1 warped into that box, both resized.

    Attributes:
        image0: (1, 1, S, S), gray.
        image1: (1, 1, S, S), gray; 0 outside the original image 1.
        valid1: (1, 1, S, S), 1 inside the original image 1, else 0.
        to_image0: (3, 3) double, maps points of both views to the original image 0.
    """

    image0: Tensor
    image1: Tensor
    valid1: Tensor
    to_image0: Tensor


def overlap_views(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    side: int,
) -> Views | None:
    """Return the square views of the overlap of two images under a homography.

    Under the true homography the two views are aligned.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.
        side: Side S of the views in pixels, whatever the aspect ratio of the overlap.

    Returns:
        The views; None without overlap.
    """
    overlap = crop_overlap(image0, image1, homography, FINE * side)
    if overlap is None:
        return None
    box = overlap.image0[:, :1]
    size = (box.shape[-2], box.shape[-1])
    warped, coverage = warp_by_homography(overlap.image1[:, :1], overlap.homography[None], *size)
    view0, view1, covered = (
        F.interpolate(i, (side, side), mode="bilinear", align_corners=False, antialias=True)
        for i in (box, warped, coverage)
    )
    return Views(
        image0=view0.clamp(0, 1),
        image1=(view1 / covered.clamp_min(1e-3)).clamp(0, 1) * (covered > 0.5),
        valid1=covered,
        to_image0=overlap.to_image0 @ resize_homography((side, side), size),
    )
