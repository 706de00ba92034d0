import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import (
    corner_error,
    homography_of_corners,
    image_corners,
    warp_points,
)
from patchmatch.pairs.homography.four_points import corner_motion, fit_homography, moved_corners


def moved(offsets, height, width):
    """Homographies that move the corners by offsets (B, 4, 2)."""
    corners = image_corners(height, width).expand(len(offsets), -1, -1)
    return homography_of_corners(corners, corners + offsets)


def test_a_corner_moves_as_it_is_told_and_takes_what_is_beside_it_along():
    motion = corner_motion(image_corners(5, 9), 5, 9)
    assert motion.shape == (4, 2, 8)
    assert_close(motion.flatten(0, 1), torch.eye(8, dtype=torch.float64))
    middle = corner_motion(torch.tensor([[4.0, 2.0]]), 5, 9)[0]
    all_right = middle @ torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0])
    assert_close(all_right, torch.tensor([1.0, 0.0]))


def test_motion_is_the_derivative_of_the_homography():
    points = torch.tensor([[3.0, 1.0], [7.5, 6.0], [0.0, 9.0]], dtype=torch.float64)
    motion, tiny = corner_motion(points, 12, 10), 1e-6
    for number in range(8):
        offsets = torch.zeros(8, dtype=torch.float64)
        offsets[number] = tiny
        there = warp_points(moved(offsets.view(1, 4, 2), 12, 10)[0], points)
        assert_close((there - points) / tiny, motion[:, :, number], atol=1e-5, rtol=0)


def test_offsets_move_the_corners_and_no_farther_than_a_quarter_of_the_side():
    offsets = torch.tensor([[1.0, -2, 0, 3, 0, 0, 0.5, 0], [10.0, 0, 0, 0, 0, -5, 0, 0]])
    corners = image_corners(20, 30).expand(2, -1, -1)
    there = warp_points(moved_corners(offsets, 20, 30), corners) - corners
    assert_close(there[0].flatten(), offsets[0].double())
    assert_close(there[1].flatten(), offsets[1].double() / 2)


@pytest.fixture
def matched():
    """Places of two images of 64 pixels and their true partners."""
    generator = torch.Generator().manual_seed(0)
    offsets = 12 * (2 * torch.rand(2, 4, 2, generator=generator, dtype=torch.float64) - 1)
    truth = moved(offsets, 64, 64)
    points0 = 63 * torch.rand(2, 90, 2, generator=generator, dtype=torch.float64)
    return points0, warp_points(truth, points0), truth, generator


def test_the_homography_is_found_though_two_in_five_partners_are_wrong(matched):
    points0, points1, truth, generator = matched
    wrong = 63 * torch.rand(2, 36, 2, generator=generator, dtype=torch.float64)
    points1 = torch.cat([wrong, points1[:, 36:]], dim=1)
    found = fit_homography(points0, points1, torch.ones(2, 90), 64)
    for i in range(2):
        assert corner_error(found[i], truth[i], 64, 64) < 0.5


def test_what_has_no_confidence_counts_nothing(matched):
    points0, points1, truth, _ = matched
    confidence = torch.ones(2, 90)
    confidence[:, :70] = 0
    points1[:, :70] += 20  # the many agree with each other on something else
    found = fit_homography(points0, points1, confidence, 64)
    assert corner_error(found[0], truth[0], 64, 64) < 0.5
    sure = fit_homography(points0, points1, torch.ones(2, 90), 64)
    assert corner_error(sure[0], truth[0], 64, 64) > 5


def test_where_nothing_is_seen_nothing_moves(matched):
    points0, points1, _, _ = matched
    found = fit_homography(points0, points1, torch.zeros(2, 90), 64)
    assert_close(found, torch.eye(3, dtype=torch.float64).expand(2, -1, -1))
    empty = torch.zeros(2, 0, 2)
    assert_close(fit_homography(empty, empty, torch.zeros(2, 0), 64), found)
