import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import (
    corner_error,
    get_perspective_transform,
    image_corners,
    warp_points,
)
from patchmatch.pairs.homography.four_points import (
    corner_jacobian,
    fit_homography,
    homography_from_offsets,
)


def displaced_corners(offsets, height, width):
    """Return the homographies that displace the corners by offsets (B, 4, 2)."""
    corners = image_corners(height, width).expand(len(offsets), -1, -1)
    return get_perspective_transform(corners, corners + offsets)


def test_the_jacobian_at_the_corners_is_the_identity(device):
    jacobian = corner_jacobian(image_corners(5, 9).to(device), 5, 9)
    assert jacobian.shape == (4, 2, 8)
    assert_close(jacobian.flatten(0, 1).cpu(), torch.eye(8, dtype=torch.float64))
    centre = corner_jacobian(torch.tensor([[4.0, 2.0]], device=device), 5, 9)[0].cpu()
    translated = centre @ torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0])
    assert_close(translated, torch.tensor([1.0, 0.0]))


def test_the_jacobian_equals_finite_differences():
    points = torch.tensor([[3.0, 1.0], [7.5, 6.0], [0.0, 9.0]], dtype=torch.float64)
    jacobian, step = corner_jacobian(points, 12, 10), 1e-6
    for number in range(8):
        offsets = torch.zeros(8, dtype=torch.float64)
        offsets[number] = step
        warped = warp_points(displaced_corners(offsets.view(1, 4, 2), 12, 10)[0], points)
        assert_close((warped - points) / step, jacobian[:, :, number], atol=1e-5, rtol=0)


def test_offsets_displace_the_corners_by_at_most_a_quarter_of_the_side():
    offsets = torch.tensor([[1.0, -2, 0, 3, 0, 0, 0.5, 0], [10.0, 0, 0, 0, 0, -5, 0, 0]])
    corners = image_corners(20, 30).expand(2, -1, -1)
    found = warp_points(homography_from_offsets(offsets, 20, 30), corners) - corners
    assert_close(found[0].flatten(), offsets[0].double())
    assert_close(found[1].flatten(), offsets[1].double() / 2)


@pytest.fixture
def matched():
    """Points of two images of 64 pixels with their true matches, and the homographies."""
    generator = torch.Generator().manual_seed(0)
    offsets = 12 * (2 * torch.rand(2, 4, 2, generator=generator, dtype=torch.float64) - 1)
    truth = displaced_corners(offsets, 64, 64)
    points0 = 63 * torch.rand(2, 90, 2, generator=generator, dtype=torch.float64)
    return points0, warp_points(truth, points0), truth, generator


def test_the_fit_is_robust_to_two_outliers_in_five(matched, device):
    points0, points1, truth, generator = matched
    outliers = 63 * torch.rand(2, 36, 2, generator=generator, dtype=torch.float64)
    points1 = torch.cat([outliers, points1[:, 36:]], dim=1).to(device)
    confidence = torch.ones(2, 90, device=device)
    found = fit_homography(points0.to(device), points1, confidence, 64).cpu()
    for i in range(2):
        assert corner_error(found[i], truth[i], 64, 64) < 0.5


def test_matches_with_zero_confidence_are_ignored(matched):
    points0, points1, truth, _ = matched
    confidence = torch.ones(2, 90)
    confidence[:, :70] = 0
    points1[:, :70] += 20  # a consistent majority, with another homography
    found = fit_homography(points0, points1, confidence, 64)
    assert corner_error(found[0], truth[0], 64, 64) < 0.5
    majority = fit_homography(points0, points1, torch.ones(2, 90), 64)
    assert corner_error(majority[0], truth[0], 64, 64) > 5


def test_without_matches_the_fit_is_the_identity(matched):
    points0, points1, _, _ = matched
    found = fit_homography(points0, points1, torch.zeros(2, 90), 64)
    assert_close(found, torch.eye(3, dtype=torch.float64).expand(2, -1, -1))
    empty = torch.zeros(2, 0, 2)
    assert_close(fit_homography(empty, empty, torch.zeros(2, 0), 64), found)
