"""Normalised correlation of two images under a homography: of the whole, and around each pixel."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.sampling import warp_by_homography

CONTRAST_FLOOR = 0.02  # added to the local standard deviation, so that noise stays small
COVERED = 0.99  # coverage of a warped pixel that lies inside image 1
WINDOW = 17  # pixels: side of the window of the local correlation
MIN_STD = 0.3  # added in quadrature to that of a normalised window: textureless ones score low


def image_correlation(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    valid0: Float[Tensor, "B 1 H W"] | None = None,
    valid1: Float[Tensor, "B 1 H1 W1"] | None = None,
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Return the correlation of two images after local contrast normalisation, and their overlap.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.
        valid0: 1 at the pixels of image 0 that count, else 0; None for all.
        valid1: The same for image 1.

    Returns:
        The correlation in [-1, 1] over the overlap, and the overlap as a fraction of image 0; both
        are 0 without overlap.
    """
    image0, image1 = (normalize_contrast(image, CONTRAST_FLOOR) for image in (image0, image1))
    warped, inside = warp_with_mask(
        image1,
        homography,
        torch.ones_like(image0) if valid0 is None else valid0,
        torch.ones_like(image1) if valid1 is None else valid1,
    )

    def mean(values: Tensor) -> Tensor:
        return (values * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp_min(1)

    variance0, variance1, covariance = _moments(image0, warped, mean)
    correlation = covariance / (variance0 * variance1).clamp_min(1e-6).sqrt()
    return correlation.clamp(-1, 1), inside.mean(dim=(1, 2, 3))


def warp_with_mask(
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    valid0: Float[Tensor, "B 1 H W"],
    valid1: Float[Tensor, "B 1 H1 W1"],
) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
    """Return image 1 on the grid of image 0, and 1 at the pixels that count in both, else 0.

    Args:
        image1: The image the homography points into.
        homography: Maps points of image 0 to image 1.
        valid0: 1 at the pixels of image 0 that count, else 0.
        valid1: The same for image 1.
    """
    both = torch.cat([image1, valid1], dim=1)
    warped, _ = warp_by_homography(both, homography, *valid0.shape[-2:])
    inside = (warped[:, 1:] > COVERED) & (valid0 > COVERED)  # outside image 1 the warped mask is 0
    return warped[:, :1], inside.to(warped)


def local_correlation(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    valid1: Float[Tensor, "B 1 H1 W1"] | None = None,
) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]]:
    """Return the correlation of two images in a window around each pixel of image 0.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.
        valid1: 1 at the pixels of image 1 that count, else 0; None for all.

    Returns:
        The correlation after local contrast normalisation, clipped to [0, 1], and a mask that is
        True where the pixel lies on a valid pixel of image 1. The correlation is near 0 in
        textureless windows, and 0 where less than half of the window lies inside image 1.
    """
    valid1 = torch.ones_like(image1) if valid1 is None else valid1
    image0, image1 = normalize_contrast(image0), normalize_contrast(image1)
    warped, visible = warp_with_mask(image1, homography, torch.ones_like(image0), valid1)
    inside = visible > 0

    def pool(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)

    overlap = pool(inside.to(warped))

    def mean(values: Tensor) -> Tensor:
        return pool(torch.where(inside, values, 0.0)) / overlap.clamp_min(0.5)

    variance0, variance1, covariance = _moments(image0, warped, mean)
    variances = [variance.clamp_min(0) + MIN_STD**2 for variance in (variance0, variance1)]
    correlation = (covariance / (variances[0] * variances[1]).sqrt()).clamp(0, 1)
    return torch.where(overlap >= 0.5, correlation, 0.0), inside


def _moments(
    image0: Tensor, image1: Tensor, mean: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the variances of both images and their covariance."""
    mean0, mean1 = mean(image0), mean(image1)
    return (
        mean(image0.square()) - mean0.square(),
        mean(image1.square()) - mean1.square(),
        mean(image0 * image1) - mean0 * mean1,
    )
