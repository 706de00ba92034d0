import torch

from patchmatch.templates.handcrafted import opponent_colors, orientation_histograms


def picture(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_opponent_colors_are_brightness_red_against_green_and_blue_against_both():
    image = torch.tensor([0.6, 0.3, 0.9]).view(1, 3, 1, 1).expand(2, 3, 2, 3)
    expected = torch.tensor([0.6, 0.15, 0.225]).view(1, 3, 1, 1).expand(2, 3, 2, 3)
    torch.testing.assert_close(opponent_colors(image), expected)


def test_a_ramp_to_the_right_has_direction_0_and_one_down_a_quarter_turn():
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 40, 40).contiguous()
    right, down = (orientation_histograms(r, 4)[0, :, 5, 5] for r in (ramp, ramp.mT))
    assert right.argmax().item() == 0
    assert down.argmax().item() == 2
    assert right[1:].abs().max() < 1e-3
