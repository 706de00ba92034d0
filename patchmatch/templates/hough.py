"""What the matches of many features say together: where the template lies, and how large."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Fit(NamedTuple):
    """Where matches place a template.

    Attributes:
        centre: (2,) x and y of its centre.
        scale: Its size in the scene over its own, a tensor of one number.
        share: Share of the features that agree, of the same kind.
    """

    centre: Tensor
    scale: Tensor
    share: Tensor


def cast_votes(
    points: Float[Tensor, "N 2"], size: tuple[int, int], sigma: float
) -> Float[Tensor, "rows columns"]:
    """Return which share of the points lies about each cell.

    A point on a cell counts 1 there and falls off around it as a Gaussian: where all points meet
    the share is 1.

    Args:
        points: x and y in cells. Points outside do not count.
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
            share = (1 - (points[:, 0] - x).abs()) * (1 - (points[:, 1] - y).abs())
            inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            index = (y * columns + x)[inside].long()
            votes.view(-1).index_add_(0, index, share[inside])
    away = torch.arange(-radius, radius + 1, device=points.device, dtype=points.dtype)
    kernel = (-(away**2) / (2 * sigma**2)).exp()
    blurred = F.conv2d(votes[None, None], kernel[None, None, :, None], padding=(radius, 0))
    blurred = F.conv2d(blurred, kernel[None, None, None], padding=(0, radius))
    return blurred[0, 0] / max(1, len(points))


def box_mean(values: Float[Tensor, "H W"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return the mean of the box around every cell, as far as it lies within the map.

    Args:
        values: A map.
        size: Rows and columns of the box; of an even number the centre lies before the middle.
    """
    rows, columns = size
    around = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
    known = F.pad(torch.ones_like(values)[None, None], around)
    total = F.avg_pool2d(F.pad(values[None, None], around), size, stride=1)
    return (total / F.avg_pool2d(known, size, stride=1))[0, 0]


def fit_scaled_shift(
    places: Float[Tensor, "N 2"],
    offsets: Float[Tensor, "N 2"],
    start: Float[Tensor, " 2"],
    radius: float,
    stiffness: float = 0.1,
    limits: tuple[float, float] = (0.7, 1.4),
    steps: int = 3,
) -> Fit:
    """Fit centre and scale to the matches that agree, by reweighted least squares.

    Feature i of a template at ``offsets[i]`` from its centre should lie at
    ``centre + scale * offsets[i]``. Each step weighs the matches by how well they fit the last.

    Args:
        places: Where each feature was found, x and y.
        offsets: Where each feature lies in the template, from its centre.
        start: The centre to begin with, at scale 1.
        radius: Error at which a match has lost most of its weight.
        stiffness: How much speaks for scale 1: as much as this share of all features.
        limits: Lowest and highest scale.
        steps: Number of steps.
    """
    centre, scale = start, places.new_ones(())
    prior = stiffness * (offsets**2).sum()
    weights = places.new_zeros(len(places))
    for _ in range(steps):
        error = (places - centre - scale * offsets).norm(dim=1) / radius
        weights = torch.where(error < 1.5, (-2 * error**2).exp(), 0)
        total = weights.sum().clamp_min(1e-6)
        votes = places - offsets  # where each would place the centre at scale 1
        mean_vote, mean_offset = (
            (weights[:, None] * values).sum(dim=0) / total for values in (votes, offsets)
        )
        vote, offset = votes - mean_vote, offsets - mean_offset
        spread = (weights[:, None] * offset**2).sum() + prior
        growth = (weights[:, None] * vote * offset).sum() / spread.clamp_min(1e-6)
        scale = (1 + growth).clamp(*limits)
        if weights.sum() > 0:
            centre = mean_vote - (scale - 1) * mean_offset
    return Fit(centre, scale, weights.mean())
