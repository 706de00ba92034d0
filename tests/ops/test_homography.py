import math

import pytest
import torch

from patchmatch.ops.homography import (
    corner_error,
    homography_of_corners,
    image_corners,
    warp_points,
)


def test_points_go_where_the_matrix_says():
    homography = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0], [0.0, 0.5, 1.0]])
    points = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    expected = [[3.0, -1.0], [7 / 2, 5 / 2]]  # the second one by hand: (7, 5, 2)
    torch.testing.assert_close(warp_points(homography, points), torch.tensor(expected))


def test_homographies_of_a_batch_are_not_mixed_up():
    shift = torch.eye(3).repeat(2, 1, 1)
    shift[1, 0, 2] = 5
    moved = warp_points(shift, torch.zeros(2, 3, 2))
    assert moved[..., 0].tolist() == [[0] * 3, [5] * 3]


def test_there_and_back_is_where_it_began():
    generator = torch.Generator().manual_seed(0)
    points = 100 * torch.rand(9, 2, generator=generator, dtype=torch.float64)
    homography = torch.eye(3, dtype=torch.float64)
    homography[2, 0], homography[0, 1] = 1e-3, 0.3
    there = warp_points(homography, points)
    torch.testing.assert_close(warp_points(homography.inverse(), there), points)


def test_convention_corners_are_those_of_the_corner_pixels_clockwise():
    assert image_corners(3, 5).tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]


def test_corner_error_is_the_mean_over_the_corners():
    truth, found = torch.eye(3), torch.eye(3)
    found[0, 0] = 1.5  # x of the right corners is off by 2 for a width of 5
    assert corner_error(found, truth, height=3, width=5) == pytest.approx(1.0)


def test_a_corner_at_infinity_is_an_infinite_error():
    found = torch.eye(3)
    found[2, 0], found[2, 2] = 1.0, 0.0
    assert corner_error(found, torch.eye(3), 3, 5) == math.inf


def test_four_points_fix_a_homography():
    truth = torch.tensor([[0.9, 0.2, 7], [-0.1, 1.1, 3], [1e-3, 2e-3, 1]], dtype=torch.float64)
    corners = image_corners(30, 50)
    found = homography_of_corners(corners, warp_points(truth, corners))
    torch.testing.assert_close(found, truth)


def test_homographies_of_many_corners_are_those_of_each():
    corners = image_corners(30, 50)
    generator = torch.Generator().manual_seed(0)
    moved = corners + 8 * torch.randn(2, 3, 4, 2, generator=generator)
    found = homography_of_corners(corners.expand_as(moved), moved)
    assert found.shape == (2, 3, 3, 3)
    torch.testing.assert_close(
        warp_points(found, corners.expand_as(moved)), moved.double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(found[1, 2], homography_of_corners(corners, moved[1, 2]))
