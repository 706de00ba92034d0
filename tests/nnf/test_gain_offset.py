import pytest
import torch
from torch.testing import assert_close

from patchmatch.nnf.gain_offset import Light, apply_gain_offset, estimate_gain_offset


def smooth(*shape, seed=0):
    small = torch.rand(*shape[:2], 6, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, shape[2:], mode="bicubic").clamp(0.1, 0.6)


def still(image):
    return torch.zeros(len(image), 2, *image.shape[-2:], dtype=torch.long)


def test_gain_and_offset_of_each_channel_and_image_are_found():
    image0 = smooth(2, 3, 40, 52)
    gain = torch.tensor([[0.7, 0.8, 0.9], [1.2, 1.5, 1.3]])
    offset = torch.tensor([[0.05, 0.0, -0.03], [0.0, 0.01, 0.02]])
    light = estimate_gain_offset(
        image0, apply_gain_offset(image0, Light(gain, offset)), still(image0)
    )
    assert_close(light.gain, gain, rtol=0, atol=1e-3)
    assert_close(light.offset, offset, rtol=0, atol=1e-3)


def test_light_is_told_from_where_the_matches_lead():
    wide = smooth(1, 3, 40, 60)
    flow = still(wide[..., :50])
    flow[:, 0] = 10
    image0, image1 = wide[..., 10:], 0.8 * wide[..., :50] + 0.1
    assert (estimate_gain_offset(image0, image1, 0 * flow).gain - 0.8).abs().max() > 0.1
    light = estimate_gain_offset(image0, image1, flow)
    assert_close(light.gain, torch.full((1, 3), 0.8), rtol=0, atol=0.02)  # windows end at borders
    assert_close(light.offset, torch.full((1, 3), 0.1), rtol=0, atol=0.01)


def test_a_third_of_wrong_matches_changes_little():
    image0 = smooth(1, 3, 48, 48)
    image1 = 0.75 * image0 + 0.04
    flow = still(image0)
    wrong = torch.rand(48, 48, generator=torch.Generator().manual_seed(1)) < 1 / 3
    flow[0, 0][wrong] = (
        torch.arange(47, -1, -1).expand(48, 48)[wrong]
        - torch.arange(48)[None].expand(48, 48)[wrong]
    )
    light = estimate_gain_offset(image0, image1, flow)
    assert_close(light.gain, torch.full((1, 3), 0.75), rtol=0, atol=0.02)


def test_what_a_sensor_cut_off_does_not_count():
    image0 = smooth(1, 1, 40, 40) * 1.6  # up to 0.96
    light = estimate_gain_offset(image0, (1.5 * image0).clamp(0, 1), still(image0))
    assert_close(light.gain, torch.full((1, 1), 1.5), rtol=0, atol=0.05)


def test_pixels_that_do_not_count_change_nothing():
    image0 = smooth(1, 1, 40, 44)
    image1 = 0.9 * image0
    image1[..., :22] = 0.5 * image0[..., :22]
    valid = torch.zeros(1, 40, 44, dtype=torch.bool)
    valid[..., 26:] = True
    light = estimate_gain_offset(image0, image1, still(image0), valid)
    assert_close(light.gain, torch.full((1, 1), 0.9), rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_the_light_of_identical_images_is_exactly_the_same(level):
    image = torch.full((1, 3, 20, 24), level)
    for same in (image, smooth(1, 3, 20, 24)):
        light = estimate_gain_offset(same, same, still(same))
        assert (light.gain == 1).all()
        assert (light.offset == 0).all()


def test_without_pixels_that_count_the_light_is_the_same():
    image0, image1 = smooth(2, 3, 20, 24), smooth(2, 3, 30, 21, seed=1)
    outside = still(image0) + 100
    for light in (
        estimate_gain_offset(image0, image1, outside),
        estimate_gain_offset(
            image0, image1, still(image0), torch.zeros(2, 20, 24, dtype=torch.bool)
        ),
    ):
        assert torch.equal(light.gain, torch.ones(2, 3))
        assert torch.equal(light.offset, torch.zeros(2, 3))


def test_an_image_under_another_light_stays_between_black_and_white():
    image = torch.tensor([0.0, 0.2, 0.5, 0.9]).view(1, 1, 2, 2)
    seen = apply_gain_offset(image, Light(torch.tensor([[1.5]]), torch.tensor([[-0.1]])))
    assert_close(seen.flatten(), torch.tensor([0.0, 0.2, 0.65, 1.0]))


def test_a_channel_unlike_the_others_is_given_their_light():
    image0 = smooth(1, 3, 40, 44)
    image1 = 0.8 * image0 + 0.05
    image1[:, 1] = 0.3 * image0[:, 1] + 0.2
    light = estimate_gain_offset(image0, image1, still(image0))
    assert_close(light.gain, torch.full((1, 3), 0.8), rtol=0, atol=1e-3)
    assert_close(light.offset, torch.full((1, 3), 0.05), rtol=0, atol=1e-3)


def test_what_the_matches_do_not_bear_out_is_not_believed():
    image0, image1 = smooth(2, 3, 40, 44), smooth(2, 3, 40, 44, seed=1)
    image1[1] = 0.8 * image0[1]
    light = estimate_gain_offset(image0, image1, still(image0))
    assert_close(light.gain, torch.tensor([[1.0] * 3, [0.8] * 3]), rtol=0, atol=1e-3)
    assert (light.offset[0] == 0).all()
