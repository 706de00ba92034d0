import math

import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import (
    corner_error,
    get_perspective_transform,
    image_corners,
    resize_homography,
    warp_points,
)


def test_points_are_multiplied_by_the_matrix_and_divided(device, dtype):
    homography = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0], [0.0, 0.5, 1.0]])
    points = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    expected = torch.tensor([[3.0, -1.0], [7 / 2, 5 / 2]])  # homogeneous: (3, -1, 1), (7, 5, 2)
    warped = warp_points(homography.to(device, dtype), points.to(device, dtype))
    assert_close(warped, expected.to(device, dtype))


def test_each_pair_of_a_batch_has_its_own_homography(device, dtype):
    shift = torch.eye(3, device=device, dtype=dtype).repeat(2, 1, 1)
    shift[1, 0, 2] = 5
    warped = warp_points(shift, torch.zeros(2, 3, 2, device=device, dtype=dtype))
    assert warped[..., 0].tolist() == [[0] * 3, [5] * 3]


def test_the_inverse_homography_maps_points_back():
    generator = torch.Generator().manual_seed(0)
    points = 100 * torch.rand(9, 2, generator=generator, dtype=torch.float64)
    homography = torch.eye(3, dtype=torch.float64)
    homography[2, 0], homography[0, 1] = 1e-3, 0.3
    warped = warp_points(homography, points)
    assert_close(warp_points(homography.inverse(), warped), points)


def test_convention_corners_are_those_of_the_corner_pixels_clockwise():
    assert image_corners(3, 5).tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]


def test_corner_error_is_the_mean_over_the_corners(device, dtype):
    truth, estimate = torch.eye(3, device=device, dtype=dtype).repeat(2, 1, 1)
    estimate[0, 0] = 1.5  # x of the right corners is off by 2 for a width of 5
    assert corner_error(estimate, truth, height=3, width=5) == pytest.approx(1.0)


def test_a_corner_at_infinity_has_infinite_error():
    estimate = torch.eye(3)
    estimate[2, 0], estimate[2, 2] = 1.0, 0.0
    assert corner_error(estimate, torch.eye(3), 3, 5) == math.inf


def test_four_correspondences_determine_the_homography(device):
    truth = torch.tensor([[0.9, 0.2, 7], [-0.1, 1.1, 3], [1e-3, 2e-3, 1]], dtype=torch.float64)
    truth, corners = truth.to(device), image_corners(30, 50).to(device)
    assert_close(get_perspective_transform(corners, warp_points(truth, corners)), truth)


def test_batched_perspective_transforms_equal_single_ones():
    corners = image_corners(30, 50)
    generator = torch.Generator().manual_seed(0)
    moved = corners + 8 * torch.randn(2, 3, 4, 2, generator=generator)
    found = get_perspective_transform(corners.expand_as(moved), moved)
    assert found.shape == (2, 3, 3, 3)
    assert_close(warp_points(found, corners.expand_as(moved)), moved.double(), atol=1e-6, rtol=0)
    assert_close(found[1, 2], get_perspective_transform(corners, moved[1, 2]))


def test_resize_homography_keeps_the_outer_corners_of_an_image():
    matrix = resize_homography((20, 30), (10, 90))
    points = torch.tensor([[-0.5, -0.5], [29.5, 19.5], [0.0, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[-0.5, -0.5], [89.5, 9.5], [1.0, 0.0]], dtype=torch.float64)
    assert_close(warp_points(matrix, points), expected)


def test_resize_homography_agrees_with_torch_interpolate():
    image = torch.arange(6.0).expand(1, 1, 4, 6)
    large = torch.nn.functional.interpolate(image, (8, 12), mode="bilinear", align_corners=False)
    point = warp_points(resize_homography((8, 12), (4, 6)), torch.tensor([[7.0, 3.0]]).double())
    assert large[0, 0, 3, 7].item() == pytest.approx(point[0, 0].item())
