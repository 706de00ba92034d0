"""Homographies by how far they move the four corners of an image (DeTone et al. 2016)."""

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.ops.homography import homography_of_corners, image_corners, warp_points

SPREADS = (0.3, 0.3, 0.25, 0.18, 0.12, 0.09, 0.07, 0.055, 0.04, 0.03, 0.024, 0.024)  # of the side
STILL = 2.0  # weight of "the corners do not move": where nothing is seen, nothing moves
FARTHEST = 0.25  # of the side: no step moves a corner by more, which could fold the image


def corner_motion(
    points: Float[Tensor, "*B N 2"], height: int, width: int
) -> Float[Tensor, "*B N 2 8"]:
    """Return how points move with the corners, for small moves.

    The last two axes hold the derivatives of x and y by x and y of the corners, in their order.

    Args:
        points: x and y in pixels.
        height: Of the image.
        width: Of the image.
    """
    scale = points.new_tensor([(width - 1) / 2, (height - 1) / 2])
    corners = image_corners(height, width).to(points)
    by_corners = torch.linalg.inv(_motion(corners / scale - 1).flatten(0, 1))  # (8, 8)
    motion = _motion(points / scale - 1) @ by_corners
    return motion * scale[:, None] / scale.repeat(4)


def moved_corners(offsets: Float[Tensor, "B 8"], height: int, width: int) -> Float[Tensor, "B 3 3"]:
    """Return the homographies that move the corners by offsets, in double precision.

    Args:
        offsets: x and y of the corners, in pixels; all are shortened by one factor where one is
            more than a quarter of the side.
        height: Of the image.
        width: Of the image.
    """
    farthest = FARTHEST * min(height, width)
    longest = offsets.abs().amax(dim=1, keepdim=True)
    offsets = offsets.double() * (farthest / longest.clamp_min(farthest)).double()
    corners = image_corners(height, width).to(offsets.device).expand(len(offsets), -1, -1)
    return homography_of_corners(corners, corners + offsets.unflatten(1, (4, 2)))


def fit_homography(
    points0: Float[Tensor, "B N 2"],
    points1: Float[Tensor, "B N 2"],
    confidence: Float[Tensor, "B N"],
    side: int,
    spreads: tuple[float, ...] = SPREADS,
) -> Float[Tensor, "B 3 3"]:
    """Return the homographies from points of square images to their partners, most of them right.

    Gauss-Newton steps of the four corners, with weights that fall with the distance (Geman and
    McClure 1987). What counts as far shrinks from step to step (Blake and Zisserman 1987), so that
    it needs no first guess but that of no motion. In double precision.

    Args:
        points0: x and y in pixels of image 0.
        points1: Where each was found in image 1.
        confidence: At least 0.
        side: Of the images.
        spreads: What is far in each step, as a share of the side.
    """
    points0, points1, confidence = points0.double(), points1.double(), confidence.double()
    corners = image_corners(side, side).to(points0.device)
    homography = torch.eye(3, dtype=torch.float64, device=points0.device)
    homography = homography.expand(len(points0), -1, -1)
    for spread in spreads:
        here = warp_points(homography, points0)
        apart = points1 - here
        far = (spread * side) ** 2
        weight = confidence / (1 + apart.square().sum(dim=2) / far).square() / far  # (B, N)
        normal, right = _equations(corner_motion(here, side, side), apart, weight)
        there = warp_points(homography, corners.expand(len(points0), -1, -1))
        still = there.new_full(there.shape[:2], STILL / side**2)
        terms = _equations(corner_motion(there, side, side), corners - there, still)
        step = torch.linalg.solve(normal + terms[0], right + terms[1])
        homography = moved_corners(step, side, side) @ homography
        homography = homography / homography[:, 2:, 2:]
    return homography


def _motion(points: Tensor) -> Tensor:
    """Return the derivatives of points (*B, N, 2) by eight entries of a homography near the unit.

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


def _equations(motion: Tensor, apart: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the normal equations of weighted least squares, (B, 8, 8) and (B, 8)."""
    rows, apart = motion.flatten(1, 2), apart.flatten(1, 2)  # (B, 2 N, 8), (B, 2 N)
    weighted = rows.mT * weight.repeat_interleave(2, dim=1)[:, None]  # (B, 8, 2 N)
    return weighted @ rows, (weighted @ apart[..., None])[..., 0]
