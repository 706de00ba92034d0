import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.sampling import bilinear_sample, lagrange_weights, warp_by_homography


def test_samples_between_pixels_are_bilinear(device, dtype):
    image = torch.arange(24.0, device=device, dtype=dtype).view(1, 2, 3, 4)
    points = torch.tensor([[[0.0, 0.0], [2.25, 1.5], [-5.0, 9.0]]], device=device, dtype=dtype)
    expected = [[0, 4 * 1.5 + 2.25, 8], [12, 12 + 4 * 1.5 + 2.25, 20]]
    expected = torch.tensor([expected], device=device, dtype=dtype)
    assert_close(bilinear_sample(image, points), expected)
    zeros = bilinear_sample(image, points, "zeros")
    assert zeros[0, :, 2].tolist() == [0, 0]
    assert_close(zeros[..., :2], expected[..., :2])


@pytest.mark.parametrize("taps", [2, 4, 6])
def test_lagrange_interpolation_is_exact_for_polynomials(taps, device):
    fraction = torch.tensor([[0.0, 0.1, 0.5], [0.7, 0.9, 1.0]], dtype=torch.float64, device=device)
    weights = lagrange_weights(fraction, taps)
    assert weights.shape == (2, 3, taps)
    positions = torch.arange(taps, dtype=torch.float64, device=device) - (taps // 2 - 1)
    for degree in range(taps):
        assert_close((weights * positions**degree).sum(dim=-1), fraction**degree)
    assert ((weights * positions**taps).sum(dim=-1) - fraction**taps).abs().max() > 0.1


def test_six_taps_displace_a_wave_less_than_linear_interpolation():
    fraction, wave = torch.linspace(0, 1, 33, dtype=torch.float64), torch.pi / 3
    errors = []
    for taps in (2, 6):
        positions = torch.arange(taps, dtype=torch.float64) - (taps // 2 - 1)
        samples = (lagrange_weights(fraction, taps) * torch.exp(1j * wave * positions)).sum(dim=-1)
        errors.append(((samples * torch.exp(-1j * wave * fraction)).angle() / wave).abs().max())
    assert errors[0].item() == pytest.approx(0.019, abs=1e-3)
    assert errors[1].item() == pytest.approx(0.001, abs=5e-4)


def test_a_pixel_of_the_warped_image_is_image1_at_the_mapped_point(device, dtype):
    image1 = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    image1 = image1.to(device, dtype)
    right_and_up = torch.tensor([[1.0, 0, 2], [0, 1, -1], [0, 0, 1]])
    rotation = torch.tensor([[0.0, 1, 1], [-1, 0, 5], [0, 0, 1]])
    homography = torch.stack([right_and_up, rotation]).to(device, dtype)
    warped, coverage = warp_by_homography(image1, homography, 5, 4)
    assert_close(coverage[0, 0, :, 0], torch.tensor([0.0, 1, 1, 1, 1]).to(coverage))
    assert_close(coverage[1], torch.ones_like(coverage[1]))
    for y in range(5):
        for x in range(4):
            expected = image1[0, :, y - 1, x + 2] if y > 0 else torch.zeros_like(image1[0, :, 0, 0])
            assert_close(warped[0, :, y, x], expected)
            assert_close(warped[1, :, y, x], image1[1, :, 5 - x, y + 1])


def test_coverage_is_the_interpolation_weight_inside_image1():
    shift = torch.eye(3, dtype=torch.float64)[None]
    shift[0, 0, 2] = 0.25
    warped, coverage = warp_by_homography(torch.full((1, 2, 3, 5), 0.5), shift, 2, 5)
    assert coverage[0, 0, 1].tolist() == [1, 1, 1, 1, 0.75]
    assert_close(warped, 0.5 * coverage.expand(-1, 2, -1, -1))


def test_a_point_at_infinity_is_outside_image1():
    homography = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [-1, 0, 2]]])  # x = 2 goes to infinity
    warped, coverage = warp_by_homography(torch.ones(1, 1, 5, 5), homography, 3, 4)
    assert warped.isfinite().all()
    assert (warped[..., 2] == 0).all()
    assert warped[0, 0, 1, 1] == 1
    assert torch.equal(coverage, warped)


def test_gradients_equal_finite_differences():
    image = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[[1.3, 2.2], [0.4, 0.7]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bilinear_sample, (image, points))


def test_an_unknown_padding_mode_raises():
    with pytest.raises(ValueError, match="padding_mode must be border or zeros, got mirror"):
        bilinear_sample(torch.rand(1, 1, 4, 4), torch.rand(1, 2, 2), "mirror")
