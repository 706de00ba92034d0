"""Refinement of homographies by direct image alignment (Lucas-Kanade)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import resize_homography
from patchmatch.ops.pyramid import pyramid
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.homography.four_points import corner_jacobian, homography_from_offsets
from patchmatch.pairs.homography.similarity import CONTRAST_FLOOR, COVERED, image_correlation

STEPS = 10
SCALE = 0.5  # of the Geman-McClure weight, in units of normalised contrast
DAMPING = 1e-4  # per pixel: without texture the step is zero
MAX_STEP = 3.0  # pixels of a corner per step
MIN_SIDE = 8  # pixels: pyramid levels with a smaller side are skipped
MIN_OVERLAP = 0.6  # of the overlap before: a small overlap correlates easily


def refine_homography(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    levels: int = 2,
) -> Float[Tensor, "B 3 3"]:
    """Refine homographies coarse to fine by Gauss-Newton steps on the brightness differences.

    The result of a pyramid level is accepted only if it raises ``image_correlation``; otherwise
    the homography is kept.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1, with an error of a few pixels of the
            coarsest level.
        levels: Pyramid levels, each half the size of the last.
    """
    homography = homography.double()
    pyramid0, pyramid1 = (pyramid(image, levels) for image in (image0, image1))
    best, overlap = image_correlation(image0, image1, homography)
    for level in reversed(range(levels)):
        scaled0, scaled1 = pyramid0[level], pyramid1[level]
        if min(*scaled0.shape[-2:], *scaled1.shape[-2:]) < MIN_SIDE:
            continue
        upscale = resize_homography((1, 1), (2**level, 2**level)).to(homography)
        scaled0, scaled1 = (normalize_contrast(s, CONTRAST_FLOOR) for s in (scaled0, scaled1))
        aligned = align_lucas_kanade(scaled0, scaled1, upscale.inverse() @ homography @ upscale)
        aligned = upscale @ aligned @ upscale.inverse()
        aligned = aligned / aligned[:, 2:, 2:]
        correlation, new_overlap = image_correlation(image0, image1, aligned)
        accept = (correlation > best) & (new_overlap > MIN_OVERLAP * overlap)
        homography = torch.where(accept[:, None, None], aligned, homography)
        best = torch.where(accept, correlation, best)
        overlap = torch.where(accept, new_overlap, overlap)
    return homography


def align_lucas_kanade(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    steps: int = STEPS,
) -> Float[Tensor, "B 3 3"]:
    """Align two images by Gauss-Newton steps on the four corner offsets.

    Lucas-Kanade (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004) with the mean gradient
    of both images (efficient second-order minimisation, Benhimane and Malis 2004) and Geman-McClure
    weights (1987).

    Args:
        image0: After local contrast normalisation.
        image1: After local contrast normalisation.
        homography: Initial value in double precision; maps points of image 0 to image 1.
        steps: Number of Gauss-Newton steps.
    """
    height, width = image0.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image0.device),
        torch.arange(width, device=image0.device),
        indexing="ij",
    )
    points = torch.stack([x, y], dim=-1).flatten(0, 1).to(image0)
    jacobian = corner_jacobian(points, height, width)  # (H W, 2, 8)
    damping = DAMPING * len(points) * torch.eye(8, dtype=torch.float64, device=image0.device)
    gradient0 = _gradient(image0)
    for _ in range(steps):
        warped, coverage = warp_by_homography(image1, homography, height, width)
        inside = (coverage > COVERED).to(warped)
        inside = -F.max_pool2d(-inside, 3, 1, 1)  # the gradient uses the adjacent pixels as well
        gradient = ((gradient0 + _gradient(warped)) / 2 * inside).flatten(2)  # (B, 2, H W)
        residual = ((warped - image0) * inside).flatten(1)  # (B, H W)
        weight = inside.flatten(1) / (1 + (residual / SCALE).square()).square()
        rows = gradient[:, 0, :, None] * jacobian[:, 0] + gradient[:, 1, :, None] * jacobian[:, 1]
        weighted = rows.mT * weight[:, None]  # (B, 8, H W)
        normal = (weighted @ rows).double() + damping
        step = -torch.linalg.solve(normal, (weighted @ residual[..., None])[..., 0].double())
        largest = step.abs().amax(dim=1, keepdim=True)
        step = step * (MAX_STEP / largest.clamp_min(MAX_STEP))
        homography = homography @ homography_from_offsets(step, height, width)
        homography = homography / homography[:, 2:, 2:]
    return homography


def _gradient(image: Tensor) -> Tensor:
    """Return central differences (B, 2, H, W) of (B, 1, H, W) by x and y; 0 at the border."""
    x = F.pad((image[..., 2:] - image[..., :-2]) / 2, (1, 1, 0, 0))
    y = F.pad((image[..., 2:, :] - image[..., :-2, :]) / 2, (0, 0, 1, 1))
    return torch.cat([x, y], dim=1)
