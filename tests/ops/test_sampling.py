import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import resizing, warp_points
from patchmatch.ops.sampling import lagrange_weights, sample_at, warp_by_homography


def test_between_pixels_the_four_around_count():
    image = torch.arange(24.0).view(1, 2, 3, 4)
    points = torch.tensor([[[0.0, 0.0], [2.25, 1.5], [-5.0, 9.0]]])
    expected = [[0, 4 * 1.5 + 2.25, 8], [12, 12 + 4 * 1.5 + 2.25, 20]]
    assert_close(sample_at(image, points), torch.tensor([expected]))
    beyond = sample_at(image, points, "zeros")
    assert beyond[0, :, 2].tolist() == [0, 0]
    assert_close(beyond[..., :2], torch.tensor([expected])[..., :2])


@pytest.mark.parametrize("taps", [2, 4, 6])
def test_a_polynomial_is_read_exactly_between_its_pixels(taps):
    fraction = torch.tensor([[0.0, 0.1, 0.5], [0.7, 0.9, 1.0]], dtype=torch.float64)
    weights = lagrange_weights(fraction, taps)
    assert weights.shape == (2, 3, taps)
    places = torch.arange(taps, dtype=torch.float64) - (taps // 2 - 1)
    for degree in range(taps):
        assert_close((weights * places**degree).sum(dim=-1), fraction**degree)
    assert ((weights * places**taps).sum(dim=-1) - fraction**taps).abs().max() > 0.1


def test_six_pixels_hardly_move_a_wave_that_a_line_moves():
    fraction, wave = torch.linspace(0, 1, 33, dtype=torch.float64), torch.pi / 3
    errors = []
    for taps in (2, 6):
        places = torch.arange(taps, dtype=torch.float64) - (taps // 2 - 1)
        seen = (lagrange_weights(fraction, taps) * torch.exp(1j * wave * places)).sum(dim=-1)
        errors.append(((seen * torch.exp(-1j * wave * fraction)).angle() / wave).abs().max())
    assert errors[0].item() == pytest.approx(0.019, abs=1e-3)
    assert errors[1].item() == pytest.approx(0.001, abs=5e-4)


def test_a_warped_image_shows_what_the_homography_points_at():
    image1 = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    right_and_up = torch.tensor([[1.0, 0, 2], [0, 1, -1], [0, 0, 1]])
    turn = torch.tensor([[0.0, 1, 1], [-1, 0, 5], [0, 0, 1]])
    warped = warp_by_homography(image1, torch.stack([right_and_up, turn]), 5, 4)
    for y in range(5):
        for x in range(4):
            expected = image1[0, :, y - 1, x + 2] if y > 0 else torch.zeros(3)
            assert_close(warped[0, :, y, x], expected)
            assert_close(warped[1, :, y, x], image1[1, :, 5 - x, y + 1])


def test_what_lies_at_infinity_is_not_seen():
    homography = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [-1, 0, 2]]])  # x = 2 goes to infinity
    warped = warp_by_homography(torch.ones(1, 1, 5, 5), homography, 3, 4)
    assert warped.isfinite().all()
    assert (warped[..., 2] == 0).all()
    assert warped[0, 0, 1, 1] == 1


def test_resizing_keeps_the_corners_of_an_image():
    matrix = resizing((20, 30), (10, 90))
    points = torch.tensor([[-0.5, -0.5], [29.5, 19.5], [0.0, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[-0.5, -0.5], [89.5, 9.5], [1.0, 0.0]], dtype=torch.float64)
    assert_close(warp_points(matrix, points), expected)


def test_gradients_are_those_of_the_differences():
    image = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[[1.3, 2.2], [0.4, 0.7]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample_at, (image, points))


def test_another_border_is_refused():
    with pytest.raises(ValueError, match="beyond must be border or zeros, got mirror"):
        sample_at(torch.rand(1, 1, 4, 4), torch.rand(1, 2, 2), "mirror")
