"""Four-point parametrisation: a homography by the offsets of the image corners (DeTone 2016)."""

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.ops.homography import get_perspective_transform, image_corners, warp_points

# Scale of the robust weight in each step, as a fraction of the side.
SCALES = (0.3, 0.3, 0.25, 0.18, 0.12, 0.09, 0.07, 0.055, 0.04, 0.03, 0.024, 0.024)
PRIOR_WEIGHT = 2.0  # of zero corner offsets: determines the solution without correspondences
MAX_OFFSET = 0.25  # of the side per step: larger offsets may fold the image


def corner_jacobian(
    points: Float[Tensor, "*B N 2"], height: int, width: int
) -> Float[Tensor, "*B N 2 8"]:
    """Return the derivatives of warped points by the corner offsets, at the identity.

    The last two axes are x and y of the point, and x and y of each corner in their order.

    Args:
        points: x and y in pixels.
        height: Height of the image.
        width: Width of the image.
    """
    scale = points.new_tensor([(width - 1) / 2, (height - 1) / 2])
    corners = image_corners(height, width).to(points)
    by_corners = torch.linalg.inv(_homography_jacobian(corners / scale - 1).flatten(0, 1))  # (8, 8)
    jacobian = _homography_jacobian(points / scale - 1) @ by_corners
    return jacobian * scale[:, None] / scale.repeat(4)


def homography_from_offsets(
    offsets: Float[Tensor, "B 8"], height: int, width: int
) -> Float[Tensor, "B 3 3"]:
    """Return the homographies that displace the corners by offsets, in double precision.

    Args:
        offsets: x and y of each corner in pixels. Where one exceeds a quarter of the side, all
            eight are reduced by one factor.
        height: Height of the image.
        width: Width of the image.
    """
    limit = MAX_OFFSET * min(height, width)
    largest = offsets.abs().amax(dim=1, keepdim=True)
    offsets = offsets.double() * (limit / largest.clamp_min(limit)).double()
    corners = image_corners(height, width).to(offsets.device).expand(len(offsets), -1, -1)
    return get_perspective_transform(corners, corners + offsets.unflatten(1, (4, 2)))


def fit_homography(
    points0: Float[Tensor, "B N 2"],
    points1: Float[Tensor, "B N 2"],
    confidence: Float[Tensor, "B N"],
    side: int,
    scales: tuple[float, ...] = SCALES,
) -> Float[Tensor, "B 3 3"]:
    """Fit homographies to correspondences of square images robustly, in double precision.

    Gauss-Newton on the corner offsets with Geman-McClure weights (1987). The scale of the weights
    decreases from step to step (graduated non-convexity, Blake and Zisserman 1987), so the identity
    suffices as initial value.

    Args:
        points0: x and y in pixels of image 0.
        points1: Corresponding points of image 1.
        confidence: Weight of each correspondence, at least 0.
        side: Side of the images in pixels.
        scales: Scale of the robust weight in each step, as a fraction of the side.
    """
    points0, points1, confidence = points0.double(), points1.double(), confidence.double()
    corners = image_corners(side, side).to(points0.device)
    homography = torch.eye(3, dtype=torch.float64, device=points0.device)
    homography = homography.expand(len(points0), -1, -1)
    for scale in scales:
        warped = warp_points(homography, points0)
        residual = points1 - warped
        variance = (scale * side) ** 2
        weight = confidence / (1 + residual.square().sum(dim=2) / variance).square() / variance
        normal, right = _normal_equations(corner_jacobian(warped, side, side), residual, weight)
        warped_corners = warp_points(homography, corners.expand(len(points0), -1, -1))
        prior = warped_corners.new_full(warped_corners.shape[:2], PRIOR_WEIGHT / side**2)
        jacobian = corner_jacobian(warped_corners, side, side)
        prior_terms = _normal_equations(jacobian, corners - warped_corners, prior)
        step = torch.linalg.solve(normal + prior_terms[0], right + prior_terms[1])
        homography = homography_from_offsets(step, side, side) @ homography
        homography = homography / homography[:, 2:, 2:]
    return homography


def _homography_jacobian(points: Tensor) -> Tensor:
    """Return the derivatives of points (*B, N, 2) by eight homography entries, at the identity.

    Args:
        points: x and y in [-1, 1].
    """
    x, y = points.unbind(dim=-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = (
        torch.stack([x, y, one, zero, zero, zero, -x * x, -x * y], dim=-1),
        torch.stack([zero, zero, zero, x, y, one, -x * y, -y * y], dim=-1),
    )
    return torch.stack(rows, dim=-2)  # (*B, N, 2, 8)


def _normal_equations(jacobian: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return matrix (B, 8, 8) and right side (B, 8) of weighted least squares."""
    rows, residual = jacobian.flatten(1, 2), residual.flatten(1, 2)  # (B, 2 N, 8), (B, 2 N)
    weighted = rows.mT * weight.repeat_interleave(2, dim=1)[:, None]  # (B, 8, 2 N)
    return weighted @ rows, (weighted @ residual[..., None])[..., 0]
