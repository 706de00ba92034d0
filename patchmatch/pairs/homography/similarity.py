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
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Return the correlation of two images after local contrast normalisation, and their overlap.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.

    Returns:
        The correlation in [-1, 1] over the overlap, and the overlap as a fraction of image 0; both
        are 0 without overlap.
    """
    image0, image1 = (normalize_contrast(image, CONTRAST_FLOOR) for image in (image0, image1))
    warped, coverage = warp_by_homography(image1, homography, *image0.shape[-2:])
    inside = (coverage > COVERED).to(warped)

    def mean(values: Tensor) -> Tensor:
        return (values * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp_min(1)

    variance0, variance1, covariance = _moments(image0, warped, mean)
    correlation = covariance / (variance0 * variance1).clamp_min(1e-6).sqrt()
    return correlation.clamp(-1, 1), inside.mean(dim=(1, 2, 3))


def local_correlation(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]]:
    """Return the correlation of two images in a window around each pixel of image 0.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.

    Returns:
        The correlation after local contrast normalisation, clipped to [0, 1], and a mask that is
        True where the pixel lies inside image 1. The correlation is near 0 in textureless windows,
        and 0 where less than half of the window lies inside image 1.
    """
    image0, image1 = normalize_contrast(image0), normalize_contrast(image1)
    warped, coverage = warp_by_homography(image1, homography, *image0.shape[-2:])
    inside = coverage > COVERED

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
