"""Coarse homographies: the geometry of the feature cells, and the fit to their matches."""

import math

import pytest
import torch
from textures import smooth
from torch.nn import functional as F
from torch.testing import assert_close

from patchmatch.pairs.homography.search import Cells, extract_cells, fit_similarity, match_cells


def mean_of_cells(image):
    """Return a feature of each cell of 4x4 pixels: its gray value beside a constant."""
    pooled = F.avg_pool2d(image, 4)
    return torch.cat([pooled, torch.ones_like(pooled)], dim=1)


@pytest.mark.parametrize("angle", [0.0, math.pi / 4, math.pi, -1.2])
def test_cells_lie_where_their_features_come_from(angle):
    """In an image whose gray value is its x coordinate, the feature of a cell is the x of it."""
    ramp = (torch.arange(160.0) / 160).expand(1, 1, 120, 160).contiguous()
    cells = extract_cells(mean_of_cells, ramp, 100, angle)
    assert len(cells.points) > 400
    offset = (160 * cells.features[:, 0].double() - cells.points[:, 0]).abs()
    assert offset.quantile(0.95) < 1  # cells at the border contain a few pixels beyond it
    assert cells.points.min() > 0
    assert (cells.points < torch.tensor([159.0, 119.0])).all()
    assert cells.size == pytest.approx(4 * math.sqrt(120 * 160) / 100)


def test_mutual_nearest_cells_match():
    features = torch.eye(4)
    cells0 = Cells(points=torch.arange(8.0).double().view(4, 2), features=features, size=1.0)
    shuffled = features[[2, 0, 3]]  # cell 1 of image 0 has no partner
    cells1 = Cells(points=10 + torch.arange(6.0).double().view(3, 2), features=shuffled, size=1.0)
    points0, points1 = match_cells(cells0, cells1)
    pairs = {tuple(a): tuple(b) for a, b in zip(points0.tolist(), points1.tolist(), strict=True)}
    assert pairs[0, 1] == (12, 13)
    assert pairs[4, 5] == (10, 11)
    assert pairs[6, 7] == (14, 15)


def test_a_similarity_is_fitted_among_outliers():
    generator = torch.Generator().manual_seed(0)
    points0 = 100 * torch.rand(60, 2, generator=generator, dtype=torch.float64)
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)
    points1 = points0 @ turn.T + torch.tensor([30.0, -7.0])
    points1[:40] = 200 * torch.rand(40, 2, generator=generator, dtype=torch.float64)
    inliers, matrix = fit_similarity(points0, points1, 2.0)
    assert inliers >= 20
    expected = torch.tensor([[0.0, -2, 30], [2, 0, -7], [0, 0, 1]], dtype=torch.float64)
    assert_close(matrix, expected, atol=0.1, rtol=0)
    assert fit_similarity(points0[:5], points1[:5], 2.0) == (0, None)


def test_uniform_images_have_no_cells_in_common():
    blank = torch.full((1, 1, 64, 80), 0.5)
    scene = torch.from_numpy(smooth(64, 80, 1)[..., 0]).float()[None, None] / 255
    cells0, cells1 = (extract_cells(mean_of_cells, image, 64) for image in (blank, scene))
    points0, _ = match_cells(cells0, cells1)
    assert len(points0) <= 1
