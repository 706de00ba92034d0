import pytest
import torch
from torch.testing import assert_close

from patchmatch.nnf.gain_offset import GainOffset, apply_gain_offset, estimate_gain_offset


def smooth(*shape, seed=0):
    small = torch.rand(*shape[:2], 6, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, shape[2:], mode="bicubic").clamp(0.1, 0.6)


def zero_flow(image):
    return torch.zeros(len(image), 2, *image.shape[-2:], dtype=torch.long, device=image.device)


def test_gain_and_offset_of_each_channel_and_image_are_estimated(device, dtype):
    image0 = smooth(2, 3, 40, 52).to(device, dtype)
    gain = torch.tensor([[0.7, 0.8, 0.9], [1.2, 1.5, 1.3]]).to(image0)
    offset = torch.tensor([[0.05, 0.0, -0.03], [0.0, 0.01, 0.02]]).to(image0)
    image1 = apply_gain_offset(image0, GainOffset(gain, offset))
    found = estimate_gain_offset(image0, image1, zero_flow(image0))
    assert_close(found.gain, gain, rtol=0, atol=1e-3)
    assert_close(found.offset, offset, rtol=0, atol=1e-3)


def test_the_estimate_compares_matched_pixels():
    wide = smooth(1, 3, 40, 60)
    flow = zero_flow(wide[..., :50])
    flow[:, 0] = 10
    image0, image1 = wide[..., 10:], 0.8 * wide[..., :50] + 0.1
    assert (estimate_gain_offset(image0, image1, 0 * flow).gain - 0.8).abs().max() > 0.1
    found = estimate_gain_offset(image0, image1, flow)
    assert_close(found.gain, torch.full((1, 3), 0.8), rtol=0, atol=0.02)  # windows end at borders
    assert_close(found.offset, torch.full((1, 3), 0.1), rtol=0, atol=0.01)


def test_a_third_of_wrong_matches_changes_the_estimate_little():
    image0 = smooth(1, 3, 48, 48)
    image1 = 0.75 * image0 + 0.04
    flow = zero_flow(image0)
    wrong = torch.rand(48, 48, generator=torch.Generator().manual_seed(1)) < 1 / 3
    flow[0, 0][wrong] = (
        torch.arange(47, -1, -1).expand(48, 48)[wrong]
        - torch.arange(48)[None].expand(48, 48)[wrong]
    )
    found = estimate_gain_offset(image0, image1, flow)
    assert_close(found.gain, torch.full((1, 3), 0.75), rtol=0, atol=0.02)


def test_saturated_pixels_are_ignored():
    image0 = smooth(1, 1, 40, 40) * 1.6  # up to 0.96
    found = estimate_gain_offset(image0, (1.5 * image0).clamp(0, 1), zero_flow(image0))
    assert_close(found.gain, torch.full((1, 1), 1.5), rtol=0, atol=0.05)


def test_masked_pixels_are_ignored():
    image0 = smooth(1, 1, 40, 44)
    image1 = 0.9 * image0
    image1[..., :22] = 0.5 * image0[..., :22]
    valid = torch.zeros(1, 40, 44, dtype=torch.bool)
    valid[..., 26:] = True
    found = estimate_gain_offset(image0, image1, zero_flow(image0), valid)
    assert_close(found.gain, torch.full((1, 1), 0.9), rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_identical_images_give_exactly_the_identity(level):
    image = torch.full((1, 3, 20, 24), level)
    for same in (image, smooth(1, 3, 20, 24)):
        found = estimate_gain_offset(same, same, zero_flow(same))
        assert (found.gain == 1).all()
        assert (found.offset == 0).all()


def test_without_valid_pixels_the_estimate_is_the_identity():
    image0, image1 = smooth(2, 3, 20, 24), smooth(2, 3, 30, 21, seed=1)
    outside = zero_flow(image0) + 100
    for found in (
        estimate_gain_offset(image0, image1, outside),
        estimate_gain_offset(
            image0, image1, zero_flow(image0), torch.zeros(2, 20, 24, dtype=torch.bool)
        ),
    ):
        assert torch.equal(found.gain, torch.ones(2, 3))
        assert torch.equal(found.offset, torch.zeros(2, 3))


def test_corrected_images_stay_between_0_and_1():
    image = torch.tensor([0.0, 0.2, 0.5, 0.9]).view(1, 1, 2, 2)
    seen = apply_gain_offset(image, GainOffset(torch.tensor([[1.5]]), torch.tensor([[-0.1]])))
    assert_close(seen.flatten(), torch.tensor([0.0, 0.2, 0.65, 1.0]))


def test_a_channel_that_deviates_gets_the_median_gain():
    image0 = smooth(1, 3, 40, 44)
    image1 = 0.8 * image0 + 0.05
    image1[:, 1] = 0.3 * image0[:, 1] + 0.2
    found = estimate_gain_offset(image0, image1, zero_flow(image0))
    assert_close(found.gain, torch.full((1, 3), 0.8), rtol=0, atol=1e-3)
    assert_close(found.offset, torch.full((1, 3), 0.05), rtol=0, atol=1e-3)


def test_an_estimate_that_explains_too_little_is_rejected():
    image0, image1 = smooth(2, 3, 40, 44), smooth(2, 3, 40, 44, seed=1)
    image1[1] = 0.8 * image0[1]
    found = estimate_gain_offset(image0, image1, zero_flow(image0))
    assert_close(found.gain, torch.tensor([[1.0] * 3, [0.8] * 3]), rtol=0, atol=1e-3)
    assert (found.offset[0] == 0).all()
