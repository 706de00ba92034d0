"""The refinement network."""

import pytest
import torch

from patchmatch.stereo.matcher import StereoMatcher
from patchmatch.stereo.refinement import DisparityRefinementNet, FirstEstimate, refinement_loss
from patchmatch.stereo.refinement_layers import nearest_known, take_from, upsample


def test_the_nearest_known_pixels_lie_in_four_directions():
    known = torch.zeros(1, 1, 3, 5, dtype=torch.bool)
    known[0, 0, 1, 1] = known[0, 0, 1, 4] = known[0, 0, 0, 2] = True
    values = torch.arange(15.0).view(1, 1, 3, 5)
    left, right, above, below = take_from(values, nearest_known(known))[0, :, 0]
    assert (left[1, 2], right[1, 2]) == (6, 9)  # x = 1 and x = 4 of the same row
    assert (above[1, 2], below[1, 2]) == (2, 7)  # y = 0; nothing below, so the pixel itself
    assert left[1, 4] == right[1, 4] == 9  # a known pixel is its own source
    assert right[2, 3] == 13


def test_upsampling_starts_as_the_nearest_value_times_four():
    coarse = torch.tensor([[1.0, 5.0, 3.0]]).view(1, 1, 1, 3)
    full = upsample(coarse, torch.zeros(1, 9 * 16, 1, 3))
    assert full.shape == (1, 1, 4, 12)
    assert (full[0, 0] - 4 * coarse[0, 0].repeat_interleave(4, 1)).abs().max() < 5
    flat = upsample(torch.full((1, 1, 2, 3), 2.0), torch.randn(1, 9 * 16, 2, 3))
    assert torch.allclose(flat, torch.full_like(flat, 8.0))  # weights sum to one


def scene(height=32, width=64, disparity=8):
    wide = torch.rand(1, 3, height, width + disparity, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.avg_pool2d(wide, 5, 1, 2)
    return (
        wide[..., :width],
        wide[..., disparity:],
        torch.full((1, height, width), float(disparity)),
    )


@pytest.mark.parametrize("particles", [0, 2])
def test_an_untrained_network_keeps_a_constant_estimate(particles):
    torch.manual_seed(0)
    image0, image1, truth = scene()
    net = DisparityRefinementNet(iterations=2, particles=particles).eval()
    half = torch.full((1, 1, 16, 32), 4.0)
    with torch.no_grad():
        *_, last = net(image0, image1, FirstEstimate(half, torch.ones_like(half)), 16)
    assert (last.disparity[:, 0] - truth).abs().mean() < 0.5
    count = 9 + 4 + 1 + (particles or 16 // 4 + 1)
    assert last.candidates.shape == (1, count, 8, 16)
    assert torch.allclose(last.log_weights.exp().sum(dim=1), torch.ones(1, 8, 16))


def test_the_loss_ignores_unknown_pixels():
    image0, image1, truth = scene()
    net = DisparityRefinementNet(iterations=1)
    half = torch.full((1, 1, 16, 32), 3.0)
    first = FirstEstimate(half, torch.ones_like(half))
    changed = truth.clone()
    truth[:, 16:] = torch.nan
    changed[:, 16:] = torch.nan
    assert refinement_loss(net(image0, image1, first, 16), truth)[0].isfinite()
    changed[:, :16] = 40
    losses = [refinement_loss(net(image0, image1, first, 16), t)[0] for t in (truth, changed)]
    assert losses[0] < losses[1]


def test_refined_disparity_is_measured_for_any_size():
    image0, image1, truth = scene(45, 87)
    found = StereoMatcher(refine=True, iterations=1).measure(image0, image1, 16)
    assert found.disparity.shape == truth.shape[1:]
    assert abs(float(truth.mean()) - found.disparity[:, 20:].mean()) < 1
