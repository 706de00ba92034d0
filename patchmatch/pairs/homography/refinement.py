"""Refinement of homographies by direct image alignment (Lucas-Kanade)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import resize_homography
from patchmatch.ops.pyramid import pyramid
from patchmatch.pairs.homography.four_points import corner_jacobian, homography_from_offsets
from patchmatch.pairs.homography.similarity import (
    CONTRAST_FLOOR,
    image_correlation,
    warp_with_mask,
)
from patchmatch.pairs.overlap import crop_overlap

SIDE = 512  # pixels to which the longer side of the overlap is downscaled
LEVELS = 4  # pyramid levels of ``align_images``
STEPS = 10
CONVERGED = 0.02  # pixels of a corner: a smaller step is the last one
SCALE = 1.0  # of the Geman-McClure weight, in units of normalised contrast
DAMPING = 1e-4  # per pixel: without texture the step is zero
MAX_STEP = 3.0  # pixels of a corner per step
MIN_SIDE = 8  # pixels: pyramid levels with a smaller side are skipped
MIN_OVERLAP = 0.6  # of the overlap before: a small overlap correlates easily


def align_images(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    valid0: Bool[Tensor, "1 H W"] | None = None,
    valid1: Bool[Tensor, "1 H1 W1"] | None = None,
) -> Float[Tensor, "3 3"]:
    """Refine the homography of two images of any sizes and scales by ``refine_homography``.

    The images are compared in the box of their overlap, at the resolution of the coarser one.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1, with an error of some pixels.
        valid0: Pixels of image 0 that count; None for all.
        valid1: The same for image 1.

    Returns:
        The homography in double precision, last entry 1; ``homography`` itself if the images do
        not correlate more under another one.
    """
    overlap = crop_overlap(image0, image1, homography, SIDE, valid0, valid1)
    if overlap is None:
        return homography
    initial = overlap.homography.to(image0.device)[None]
    (gray0, mask0), (gray1, mask1) = (i.split(1, dim=1) for i in (overlap.image0, overlap.image1))
    refined = refine_homography(gray0, gray1, initial, LEVELS, mask0, mask1)
    if torch.equal(refined, initial):
        return homography
    refined = overlap.to_image1 @ refined[0].cpu() @ overlap.to_image0.inverse()
    return (refined / refined[2, 2]).to(homography.device)


def refine_homography(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    levels: int = 2,
    valid0: Float[Tensor, "B 1 H W"] | None = None,
    valid1: Float[Tensor, "B 1 H1 W1"] | None = None,
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
        valid0: 1 at the pixels of image 0 that count, else 0; None for all.
        valid1: The same for image 1.
    """
    homography = homography.double()
    masks = [
        torch.ones_like(image) if valid is None else valid
        for image, valid in ((image0, valid0), (image1, valid1))
    ]
    pyramids = [pyramid(values, levels) for values in (image0, image1, *masks)]
    best, overlap = image_correlation(image0, image1, homography, *masks)
    for level in reversed(range(levels)):
        scaled0, scaled1, *scaled_masks = (values[level] for values in pyramids)
        if min(*scaled0.shape[-2:], *scaled1.shape[-2:]) < MIN_SIDE:
            continue
        upscale = resize_homography((1, 1), (2**level, 2**level)).to(homography)
        scaled0, scaled1 = (normalize_contrast(s, CONTRAST_FLOOR) for s in (scaled0, scaled1))
        initial = upscale.inverse() @ homography @ upscale
        mask0, mask1 = scaled_masks
        aligned = align_lucas_kanade(scaled0, scaled1, initial, mask0, mask1)
        aligned = upscale @ aligned @ upscale.inverse()
        aligned = aligned / aligned[:, 2:, 2:]
        correlation, new_overlap = image_correlation(image0, image1, aligned, *masks)
        accept = (correlation > best) & (new_overlap > MIN_OVERLAP * overlap)
        homography = torch.where(accept[:, None, None], aligned, homography)
        best = torch.where(accept, correlation, best)
        overlap = torch.where(accept, new_overlap, overlap)
    return homography


def align_lucas_kanade(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    valid0: Float[Tensor, "B 1 H W"],
    valid1: Float[Tensor, "B 1 H1 W1"],
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
        valid0: 1 at the pixels of image 0 that count, else 0.
        valid1: The same for image 1.
        steps: Largest number of Gauss-Newton steps.
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
        warped, inside = warp_with_mask(image1, homography, valid0, valid1)
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
        if largest.amax() < CONVERGED:
            break
    return homography


def _gradient(image: Tensor) -> Tensor:
    """Return central differences (B, 2, H, W) of (B, 1, H, W) by x and y; 0 at the border."""
    x = F.pad((image[..., 2:] - image[..., :-2]) / 2, (1, 1, 0, 0))
    y = F.pad((image[..., 2:, :] - image[..., :-2, :]) / 2, (0, 0, 1, 1))
    return torch.cat([x, y], dim=1)
