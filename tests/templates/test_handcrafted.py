import torch

from patchmatch.templates.handcrafted import opponent_colors, orientation_histograms


def test_opponent_colors_are_intensity_red_minus_green_and_blue_minus_yellow(device, dtype):
    kind = {"device": device, "dtype": dtype}
    image = torch.tensor([0.6, 0.3, 0.9], **kind).view(1, 3, 1, 1).expand(2, 3, 2, 3)
    expected = torch.tensor([0.6, 0.15, 0.225], **kind).view(1, 3, 1, 1).expand(2, 3, 2, 3)
    torch.testing.assert_close(opponent_colors(image), expected)


def test_horizontal_ramp_has_orientation_0_and_vertical_ramp_orientation_2(device, dtype):
    ramp = torch.linspace(0, 1, 40, device=device, dtype=dtype).expand(1, 3, 40, 40).contiguous()
    right, down = (orientation_histograms(r, 4)[0, :, 5, 5] for r in (ramp, ramp.mT))
    assert right.argmax().item() == 0
    assert down.argmax().item() == 2
    assert right[1:].abs().max() < 1e-3
