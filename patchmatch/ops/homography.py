"""Homographies: transform points, solve for the matrix, measure the error of the corners."""

import torch
from jaxtyping import Float
from torch import Tensor


def warp_points(
    homography: Float[Tensor, "*B 3 3"], points: Float[Tensor, "*B N 2"]
) -> Float[Tensor, "*B N 2"]:
    """Transform points by a homography.

    Args:
        homography: Multiplied from the left with (x, y, 1).
        points: x and y.

    Returns:
        x and y; not finite where a point is mapped to infinity.
    """
    ones = torch.ones_like(points[..., :1])
    homogeneous = torch.cat([points, ones], dim=-1) @ homography.mT  # (*B, N, 3)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def image_corners(height: int, width: int) -> Float[Tensor, "4 2"]:
    """Return the centres of the corner pixels, clockwise from the top left, in double precision."""
    right, bottom = width - 1, height - 1
    corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    return torch.tensor(corners, dtype=torch.float64)


def corner_error(
    homography: Float[Tensor, "3 3"], truth: Float[Tensor, "3 3"], height: int, width: int
) -> float:
    """Return the mean distance in pixels between the corners under two homographies.

    Args:
        homography: The estimate, from image 0 to image 1.
        truth: The ground truth, from image 0 to image 1.
        height: Height of image 0.
        width: Width of image 0.

    Returns:
        The error; infinite where a corner is mapped to infinity.
    """
    corners = image_corners(height, width).to(homography.device)
    offset = warp_points(homography.double(), corners) - warp_points(truth.double(), corners)
    error = offset.norm(dim=-1).mean()
    return float(error) if torch.isfinite(error) else float("inf")


def get_perspective_transform(
    points0: Float[Tensor, "*B 4 2"], points1: Float[Tensor, "*B 4 2"]
) -> Float[Tensor, "*B 3 3"]:
    """Solve for the homography that maps four points to four others, in double precision.

    Args:
        points0: x and y; no three points lie on a line.
        points1: Their correspondences; no three points lie on a line.
    """
    x, y = points0.double().unbind(dim=-1)
    u, v = points1.double().unbind(dim=-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1)
    rows, right = torch.cat([rows_u, rows_v], dim=-2), torch.cat([u, v], dim=-1)  # (*B, 8, 8)
    solution = torch.linalg.solve(rows, right[..., None])[..., 0]
    entries = torch.cat([solution, torch.ones_like(solution[..., :1])], dim=-1)
    return entries.unflatten(-1, (3, 3))


def resize_homography(size: tuple[int, int], new_size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Return the transform of points under a resize, in double precision.

    It maps the outer corners of the image onto each other (``align_corners=False``).

    Args:
        size: Height and width before.
        new_size: Height and width after.
    """
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    matrix = [[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]
    return torch.tensor(matrix, dtype=torch.float64)
