"""Hough voting for the centre of a template, and the fit of its centre and scale to matches."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def hough_voting(
    points: Float[Tensor, "N 2"], size: tuple[int, int], sigma: float
) -> Float[Tensor, "rows columns"]:
    """Return the Hough accumulator of votes for positions, smoothed by a Gaussian.

    The value of a cell is the weighted share of all votes near it: 1 where all votes coincide.

    Args:
        points: The votes, x and y in cells. Votes outside the accumulator are ignored.
        size: Rows and columns.
        sigma: Standard deviation of the Gaussian in cells, above 0.
    """
    rows, columns = size
    radius = max(1, math.ceil(3 * sigma))
    votes = points.new_zeros(rows, columns)
    low = points.floor()
    for step_x in (0, 1):
        for step_y in (0, 1):
            x, y = (low + low.new_tensor([step_x, step_y])).unbind(dim=1)
            weight = (1 - (points[:, 0] - x).abs()) * (1 - (points[:, 1] - y).abs())
            inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            index = (y * columns + x)[inside].long()
            votes.view(-1).index_add_(0, index, weight[inside])
    distance = torch.arange(-radius, radius + 1, device=points.device, dtype=points.dtype)
    kernel = (-(distance**2) / (2 * sigma**2)).exp()
    smoothed = F.conv2d(votes[None, None], kernel[None, None, :, None], padding=(radius, 0))
    smoothed = F.conv2d(smoothed, kernel[None, None, None], padding=(0, radius))
    return smoothed[0, 0] / max(1, len(points))


def box_mean(values: Float[Tensor, "H W"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return the mean of the box around every cell, over the part inside the map.

    Args:
        values: A map.
        size: Rows and columns of the box. Of an even number, the cell is the one before the middle.
    """
    rows, columns = size
    padding = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
    inside = F.pad(torch.ones_like(values)[None, None], padding)
    total = F.avg_pool2d(F.pad(values[None, None], padding), size, stride=1)
    return (total / F.avg_pool2d(inside, size, stride=1))[0, 0]


def fit_centre_and_scale(
    positions: Float[Tensor, "N 2"],
    offsets: Float[Tensor, "N 2"],
    initial_centre: Float[Tensor, " 2"],
    radius: float,
    prior_weight: float = 0.1,
    scale_limits: tuple[float, float] = (0.7, 1.4),
    iterations: int = 3,
) -> tuple[Float[Tensor, " 2"], Float[Tensor, ""]]:
    """Fit centre and scale to matches by iteratively reweighted least squares.

    The model is ``positions[i] = centre + scale * offsets[i]``. The weight of a match falls with
    its error, and is 0 from 1.5 radii on.

    Args:
        positions: x and y of the scene feature that matches each template feature.
        offsets: x and y of each template feature from the centre of the template.
        initial_centre: Centre of the first iteration; its scale is 1.
        radius: Error at which the weight of a match is ``exp(-2)``.
        prior_weight: Weight of the prior scale 1, relative to all features together.
        scale_limits: Lowest and highest scale.
        iterations: Number of iterations.

    Returns:
        x and y of the centre, and the scale: size in the scene divided by size of the template.
    """
    centre, scale = initial_centre, positions.new_ones(())
    prior = prior_weight * (offsets**2).sum()
    for _ in range(iterations):
        error = (positions - centre - scale * offsets).norm(dim=1) / radius
        weights = torch.where(error < 1.5, (-2 * error**2).exp(), 0)
        total = weights.sum().clamp_min(1e-6)
        votes = positions - offsets  # the centre that each match implies at scale 1
        mean_vote, mean_offset = (
            (weights[:, None] * values).sum(dim=0) / total for values in (votes, offsets)
        )
        vote, offset = votes - mean_vote, offsets - mean_offset
        variance = (weights[:, None] * offset**2).sum() + prior
        growth = (weights[:, None] * vote * offset).sum() / variance.clamp_min(1e-6)
        scale = (1 + growth).clamp(*scale_limits)
        if weights.sum() > 0:
            centre = mean_vote - (scale - 1) * mean_offset
    return centre, scale


def fit_sides(
    positions: Float[Tensor, "N 2"],
    offsets: Float[Tensor, "N 2"],
    centre: Float[Tensor, " 2"],
    radius: float,
    iterations: int = 10,
) -> Float[Tensor, " 2"]:
    """Fit the scales of width and height to matches, without limits and without a prior.

    The arguments are those of ``fit_centre_and_scale``.

    Returns:
        Width and height in the scene divided by those of the template; 1 where the matches do not
        determine it.
    """
    sides = torch.ones_like(centre)
    for _ in range(iterations):
        error = (positions - centre - sides * offsets).norm(dim=1) / radius
        weights = torch.where(error < 1.5, (-2 * error**2).exp(), 0)[:, None]
        total = weights.sum().clamp_min(1e-6)
        mean, mean_offset = ((weights * v).sum(dim=0) / total for v in (positions, offsets))
        position, offset = positions - mean, offsets - mean_offset
        variance = (weights * offset**2).sum(dim=0)
        fitted = (weights * position * offset).sum(dim=0) / variance.clamp_min(1e-6)
        sides = torch.where(variance > 1e-3, fitted, 1.0).clamp(0.1, 10.0)
        centre = mean - sides * mean_offset
    return sides
