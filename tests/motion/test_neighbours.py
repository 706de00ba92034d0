import numpy as np
import torch
from torch.testing import assert_close

from patchmatch.motion.neighbours import EIGHT, FOUR, geometric_median, neighbours


def test_four_neighbours_are_above_left_right_and_below():
    values = torch.arange(12.0).view(1, 3, 4, 1)
    values = torch.cat([values, 100 + values])
    found = neighbours(values, FOUR)
    assert found.shape == (2, 3, 4, 4, 1)
    assert found[0, 1, 2, :, 0].tolist() == [2, 5, 7, 10]
    assert found[1, 1, 2, :, 0].tolist() == [102, 105, 107, 110]
    # beyond the border the border's own
    assert found[0, 0, 0, :, 0].tolist() == [0, 0, 1, 4]
    assert found[0, 2, 3, :, 0].tolist() == [7, 10, 11, 11]


def test_neighbours_agree_with_loops(device, dtype):
    values = torch.rand(2, 3, 5, 2).to(device, dtype)
    found = neighbours(values, EIGHT)
    for row, column in np.ndindex(3, 5):
        for i, (r, c) in enumerate(EIGHT):
            y, x = min(max(row + r - 1, 0), 2), min(max(column + c - 1, 0), 4)
            assert torch.equal(found[:, row, column, i], values[:, y, x])


def test_single_block_is_its_own_neighbour():
    values = torch.rand(2, 1, 1, 3)
    assert torch.equal(neighbours(values), values.unsqueeze(3).expand(2, 1, 1, 4, 3))


def test_geometric_median_agrees_with_a_grid_search(device, dtype):
    generator = torch.Generator().manual_seed(0)
    points = 4 * torch.rand(3, 5, 2, generator=generator)
    weights = torch.rand(3, 5, generator=generator) + 0.1
    axis = torch.arange(0, 4, 0.02)
    grid = torch.cartesian_prod(axis, axis)
    distance = (grid[None, :, None] - points[:, None]).norm(dim=-1)  # (N, G, K)
    best = grid[(weights[:, None] * distance).sum(dim=-1).argmin(dim=1)]
    start = points.mean(dim=1)
    given = (x.to(device, dtype) for x in (points, weights, start))
    found = geometric_median(*given, steps=300, softening=1e-3)
    assert_close(found, best.to(device, dtype), rtol=0, atol=0.03)


def test_geometric_median_of_a_line_is_its_median():
    points = torch.tensor([[[0.0, 0], [1, 2], [50, 100]], [[7, 3], [7, 3], [-40, 9]]])
    found = geometric_median(points, torch.ones(2, 3), points.mean(dim=1), steps=200)
    assert_close(found, torch.tensor([[1.0, 2], [7, 3]]), rtol=0, atol=0.1)


def test_geometric_median_of_equal_points_is_the_point():
    points = torch.tensor([[1.5, -2.0], [3, 4]])[:, None].expand(2, 4, 2)
    found = geometric_median(points, torch.rand(2, 4) + 0.1, torch.zeros(2, 2), steps=1)
    assert_close(found, points[:, 0])


def test_zero_weights_give_a_finite_point():
    found = geometric_median(torch.rand(2, 3, 2), torch.zeros(2, 3), torch.ones(2, 2))
    assert torch.isfinite(found).all()


def test_gradients_reach_points_and_weights():
    points = torch.rand(2, 3, 2, requires_grad=True)
    weights = torch.rand(2, 3, requires_grad=True)
    geometric_median(points, weights, torch.rand(2, 2)).sum().backward()
    assert points.grad is not None
    assert weights.grad is not None
    assert_close(points.grad.sum(dim=1), torch.ones(2, 2))  # the subwindow_weights add up to one
    assert (points.grad > 0).all()
    assert torch.isfinite(weights.grad).all()


def test_geometric_median_accepts_an_empty_batch():
    assert geometric_median(torch.zeros(0, 3, 2), torch.zeros(0, 3), torch.zeros(0, 2)).shape == (
        0,
        2,
    )
