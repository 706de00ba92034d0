import pytest
import torch
from torch.testing import assert_close

from patchmatch.shift.net import CLASSES, ShiftNet


@pytest.fixture
def net():
    torch.manual_seed(0)
    return ShiftNet().eval()


def test_the_network_has_fewer_than_10000_parameters(net):
    assert sum(p.numel() for p in net.parameters()) < 10_000


def test_output_has_every_block_of_every_consecutive_pair(net):
    logits = net(torch.rand(2, 1, 3, 40, 53), block=26, stride=13)
    assert logits.shape == (2, CLASSES, 2, 2, 3)


def test_a_clip_gives_the_logits_of_its_pairs(net):
    clip = torch.rand(1, 1, 3, 39, 52)
    whole = net(clip)
    assert_close(whole[:, :, 0], net(clip[:, :, :2])[:, :, 0], rtol=1e-4, atol=1e-4)
    assert_close(whole[:, :, 1], net(clip[:, :, 1:])[:, :, 0], rtol=1e-4, atol=1e-4)


def test_logits_of_a_block_depend_on_its_surroundings_only(net):
    frames = torch.rand(1, 1, 2, 104, 130)
    whole = net(frames)  # block (2, 3) covers rows 26..52 and columns 39..65
    crop = net(frames[..., 13:65, 26:78])  # in the crop it is block (1, 1)
    # only the mean of the frame, subtracted for precision, differs
    assert_close(whole[..., 2, 3], crop[..., 1, 1], rtol=1e-3, atol=1e-3)


def test_brightness_does_not_change_the_logits(net):
    frames = torch.rand(1, 1, 2, 26, 26) / 2
    brighter = frames + torch.tensor([0.1, 0.4]).reshape(1, 1, 2, 1, 1)
    assert_close(net(frames), net(brighter), rtol=1e-3, atol=1e-3)


def test_gradients_reach_every_parameter():
    net = ShiftNet()
    net(torch.rand(4, 1, 2, 26, 26)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 1}, "filters must be at least 2"),
        ({"width": 0}, "width at least 1"),
        ({"kernel": 4}, "kernel must be an odd number of pixels, got 4"),
    ],
)
def test_wrong_sizes_raise(options, message):
    with pytest.raises(ValueError, match=message):
        ShiftNet(**options)
