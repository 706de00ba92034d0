import pytest
import torch
from torch.testing import assert_close

from patchmatch.motion.camera import camera_motion


def blocks(rows=8, columns=12):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return 32.0 * torch.stack([x, y], dim=-1).reshape(-1, 2) + 15.5


def affine(points):
    """A pan, a zoom, a turn and a little shear."""
    matrix = torch.tensor([[0.02, -0.012], [0.015, 0.03]])
    return points @ matrix.T + torch.tensor([3.0, -7])


def test_affine_motion_is_fitted_exactly(device, dtype):
    points = blocks().to(device, dtype)
    expected = affine(blocks()).to(device, dtype)
    found = camera_motion(points, expected, torch.ones_like(points[:, 0]))
    assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_affine_motion_is_fitted_with_forty_percent_outliers(seed):
    generator = torch.Generator().manual_seed(seed)
    points = blocks()
    seen = affine(points) + 0.05 * torch.randn(len(points), 2, generator=generator)
    wrong = torch.randperm(len(points), generator=generator)[: int(0.4 * len(points))]
    seen[wrong] += 40 * torch.randn(len(wrong), 2, generator=generator)
    found = camera_motion(points, seen, torch.ones(len(points)))
    assert_close(found, affine(points), rtol=0, atol=0.15)


def test_distance_of_an_outlier_hardly_changes_the_fit():
    points = blocks()
    on_object = ((points - torch.tensor([200.0, 100])).abs() < 60).all(dim=1)
    assert 8 <= on_object.sum() <= 20
    for far in (5.0, 500.0):
        seen = affine(points)
        seen[on_object] += far
        found = camera_motion(points, seen, torch.ones(len(points)))
        assert_close(found, affine(points), rtol=0, atol=0.1)


def test_points_of_zero_weight_are_ignored():
    points = blocks(3, 5)
    seen, weights = affine(points), torch.ones(15)
    seen[:9], weights[:9] = 100, 0
    found = camera_motion(points, seen, weights)
    assert_close(found, affine(points), rtol=0, atol=0.05)


def test_fewer_than_six_points_fit_a_translation():
    points = blocks(1, 5)
    seen = torch.tensor([[2.0, -1]]).repeat(5, 1)
    seen[3] = torch.tensor([60.0, 9])
    found = camera_motion(points, seen, torch.ones(5))
    assert_close(found, torch.tensor([[2.0, -1]]).expand(5, 2), rtol=0, atol=0.05)


def test_blocks_in_one_row_are_fitted():
    points = blocks(1, 9)
    found = camera_motion(points, affine(points), torch.ones(9))
    assert_close(found, affine(points), rtol=0, atol=1e-2)


def test_fit_is_independent_of_the_origin():
    points = blocks(4, 6)
    seen = affine(points) + torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.linspace(0.1, 1, 24)
    moved = camera_motion(points + 5000, seen, weights)
    assert_close(moved, camera_motion(points, seen, weights), rtol=0, atol=1e-2)


def test_zero_weights_and_no_points_give_finite_results():
    points = blocks(2, 4)
    assert torch.isfinite(camera_motion(points, affine(points), torch.zeros(8))).all()
    assert camera_motion(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0)).shape == (0, 2)
