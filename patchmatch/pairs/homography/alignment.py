"""Homographies made exact by the pictures themselves."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import resizing
from patchmatch.ops.pyramid import pyramid
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.homography.four_points import corner_motion, moved_corners

FLOOR = 0.02  # of the standard deviation that contrast is divided by: noise stays small
STEPS = 10
FAR = 0.5  # difference of even contrast from which on a pixel counts little
DAMPING = 1e-4  # for each pixel: where there is no texture, there is no step
LONGEST = 3.0  # pixels that a step moves a corner by at most
NARROWEST = 8  # pixels: a level with a smaller side is left out
KEPT = 0.6  # share of what is seen that must remain so: little is easily made alike


def refine_homography(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    levels: int = 2,
) -> Float[Tensor, "B 3 3"]:
    """Return homographies under which the images look more alike, or those that were given.

    From the coarsest level to the full size; what a level finds is kept where it raises the
    correlation of the images (``agreement``).

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Takes points of image 0 to image 1, wrong by a few pixels of the coarsest level.
        levels: Each but the first halves the images once more.
    """
    homography = homography.double()
    small0, small1 = (pyramid(image, levels) for image in (image0, image1))
    best, seen = agreement(image0, image1, homography)
    for level in range(levels - 1, -1, -1):
        if min(*small0[level].shape[-2:], *small1[level].shape[-2:]) < NARROWEST:
            continue
        grow = resizing((1, 1), (2**level, 2**level)).to(homography)
        even0, even1 = (normalize_contrast(s[level], FLOOR) for s in (small0, small1))
        found = grow @ aligned(even0, even1, grow.inverse() @ homography @ grow) @ grow.inverse()
        found = found / found[:, 2:, 2:]
        correlation, area = agreement(image0, image1, found)
        better = (correlation > best) & (area > KEPT * seen)
        homography = torch.where(better[:, None, None], found, homography)
        best, seen = torch.where(better, correlation, best), torch.where(better, area, seen)
    return homography


def aligned(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
    steps: int = STEPS,
) -> Float[Tensor, "B 3 3"]:
    """Return homographies after steps of Gauss and Newton towards equal brightness.

    Lucas and Kanade's method (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004), by the
    offsets of four corners; the gradient is the mean of both images', which makes it second-order
    (Benhimane and Malis 2004), and weights fall with the difference (Geman and McClure 1987).

    Args:
        image0: Of even contrast.
        image1: Of even contrast.
        homography: In double precision; takes points of image 0 to image 1.
        steps: Of Gauss and Newton.
    """
    height, width = image0.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image0.device),
        torch.arange(width, device=image0.device),
        indexing="ij",
    )
    places = torch.stack([x, y], dim=-1).flatten(0, 1).to(image0)
    motion = corner_motion(places, height, width)  # (H W, 2, 8)
    damping = DAMPING * len(places) * torch.eye(8, dtype=torch.float64, device=image0.device)
    gradient0 = _gradient(image0)
    for _ in range(steps):
        there, inside = _seen(image1, homography, height, width)
        inside = -F.max_pool2d(-inside, 3, 1, 1)  # where the gradient is that of image 1 as well
        slope = ((gradient0 + _gradient(there)) / 2 * inside).flatten(2)  # (B, 2, H W)
        apart = ((there - image0) * inside).flatten(1)  # (B, H W)
        weight = inside.flatten(1) / (1 + (apart / FAR).square()).square()
        rows = slope[:, 0, :, None] * motion[:, 0] + slope[:, 1, :, None] * motion[:, 1]
        weighted = rows.mT * weight[:, None]  # (B, 8, H W)
        normal = (weighted @ rows).double() + damping
        step = -torch.linalg.solve(normal, (weighted @ apart[..., None])[..., 0].double())
        longest = step.abs().amax(dim=1, keepdim=True)
        step = step * (LONGEST / longest.clamp_min(LONGEST))
        homography = homography @ moved_corners(step, height, width)
        homography = homography / homography[:, 2:, 2:]
    return homography


def agreement(
    image0: Float[Tensor, "B 1 H W"],
    image1: Float[Tensor, "B 1 H1 W1"],
    homography: Float[Tensor, "B 3 3"],
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Return the correlation of two images of even contrast under a homography, and what is seen.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Takes points of image 0 to image 1.

    Returns:
        The correlation over all pixels that both images show, in [-1, 1], and their share of image
        0, both 0 where there are none.
    """
    even0, even1 = (normalize_contrast(image, FLOOR) for image in (image0, image1))
    there, inside = _seen(even1, homography, *image0.shape[-2:])

    def mean(values: Tensor) -> Tensor:
        return (values * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp_min(1)

    mean0, mean1 = mean(even0), mean(there)
    spread0, spread1 = mean(even0.square()) - mean0.square(), mean(there.square()) - mean1.square()
    product = mean(even0 * there) - mean0 * mean1
    correlation = product / (spread0 * spread1).clamp_min(1e-6).sqrt()
    return correlation.clamp(-1, 1), inside.mean(dim=(1, 2, 3))


def _seen(image1: Tensor, homography: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return image 1 on the grid of image 0, and 1.0 where it shows all of a pixel, else 0."""
    both = torch.cat([image1, torch.ones_like(image1)], dim=1)
    there, inside = warp_by_homography(both, homography, height, width).chunk(2, dim=1)
    return there, (inside > 0.99).to(there)


def _gradient(image: Tensor) -> Tensor:
    """Return the derivatives (B, 2, H, W) of an image (B, 1, H, W) by x and y; 0 at the border."""
    x = F.pad((image[..., 2:] - image[..., :-2]) / 2, (1, 1, 0, 0))
    y = F.pad((image[..., 2:, :] - image[..., :-2, :]) / 2, (0, 0, 1, 1))
    return torch.cat([x, y], dim=1)
