"""Homographies: points under them, and how far two of them are apart."""

import torch
from jaxtyping import Float
from torch import Tensor


def warp_points(
    homography: Float[Tensor, "*B 3 3"], points: Float[Tensor, "*B N 2"]
) -> Float[Tensor, "*B N 2"]:
    """Return where a homography takes points.

    Args:
        homography: Acts on (x, y, 1) from the left.
        points: x and y.

    Returns:
        x and y; not finite where a point goes to infinity.
    """
    ones = torch.ones_like(points[..., :1])
    moved = torch.cat([points, ones], dim=-1) @ homography.mT  # (*B, N, 3)
    return moved[..., :2] / moved[..., 2:]


def image_corners(height: int, width: int) -> Float[Tensor, "4 2"]:
    """Return the centres of the corner pixels, clockwise from the top left, in double precision."""
    right, bottom = width - 1, height - 1
    corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    return torch.tensor(corners, dtype=torch.float64)


def corner_error(
    homography: Float[Tensor, "3 3"], truth: Float[Tensor, "3 3"], height: int, width: int
) -> float:
    """Return how far the corners of image 0 land from where they should, on average, in pixels.

    Args:
        homography: From image 0 to image 1, as it was estimated.
        truth: The true one.
        height: Of image 0.
        width: Of image 0.

    Returns:
        The error; infinite where a corner goes to infinity.
    """
    corners = image_corners(height, width)
    apart = warp_points(homography.double(), corners) - warp_points(truth.double(), corners)
    error = apart.norm(dim=-1).mean()
    return float(error) if torch.isfinite(error) else float("inf")


def homography_of_corners(
    corners0: Float[Tensor, "*B 4 2"], corners1: Float[Tensor, "*B 4 2"]
) -> Float[Tensor, "*B 3 3"]:
    """Return the homography that takes four points to four others, in double precision.

    Args:
        corners0: x and y, no three of them on a line.
        corners1: Where they go, no three of them on a line.
    """
    x, y = corners0.double().unbind(dim=-1)
    u, v = corners1.double().unbind(dim=-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1)
    rows, right = torch.cat([rows_u, rows_v], dim=-2), torch.cat([u, v], dim=-1)  # (*B, 8, 8)
    solution = torch.linalg.solve(rows, right[..., None])[..., 0]
    entries = torch.cat([solution, torch.ones_like(solution[..., :1])], dim=-1)
    return entries.unflatten(-1, (3, 3))


def resizing(size: tuple[int, int], smaller: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Return what resizing does to points, in double precision; the corners of images stay corners.

    Args:
        size: Height and width before.
        smaller: Height and width after.
    """
    y, x = smaller[0] / size[0], smaller[1] / size[1]
    matrix = [[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]
    return torch.tensor(matrix, dtype=torch.float64)
