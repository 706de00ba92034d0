import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from patchmatch.shift.correlation import CorrelationNet
from patchmatch.shift.energy import EnergyNet
from patchmatch.shift.net import CLASSES, gaussian_kernels
from patchmatch.shift.ops import LARGER, SHIFTS

NETS = (EnergyNet, CorrelationNet)


@pytest.fixture(params=NETS)
def net(request):
    torch.manual_seed(0)
    return request.param().eval()


def test_the_networks_have_fewer_than_10000_parameters(net):
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


@pytest.mark.parametrize("blank", [0, 1])
def test_a_single_frame_does_not_reveal_the_shift(net, blank):
    frames = torch.rand(1, 1, 2, 26, 26)
    frames[:, :, blank] = 0.4
    logits = net(frames).flatten()[:LARGER]
    spread = logits.max() - logits.min()
    frames = torch.rand(1, 1, 1, 26, 26).expand(-1, -1, 2, -1, -1)
    known = net(frames).flatten()[:LARGER]
    assert spread < 0.05 * (known.max() - known.min())


@pytest.mark.parametrize("index", range(9))
def test_energy_is_right_without_training(index):
    dx, dy = SHIFTS[index]
    image = torch.rand(28, 28, generator=torch.Generator().manual_seed(index))
    patches = torch.stack([image[1:-1, 1:-1], image[1 - dy : 27 - dy, 1 - dx : 27 - dx]])
    logits = EnergyNet().eval()(patches[None, None])
    assert logits[0, :LARGER].argmax() == index


def test_energies_are_those_of_a_3d_convolution_with_the_kernels(device):
    torch.manual_seed(0)
    net = EnergyNet(filters=2, kernel=5).eval().to(device)
    with torch.no_grad():
        net.profiles.add_(0.1 * torch.randn_like(net.profiles))
    block, margin = 12, 3  # the kernels have 7x7 pixels
    frames = torch.rand(1, 1, 2, 30, 34, device=device)
    features = net.extract_features(frames, block, block)
    even, odd = net.energies(features.at(slice(1)), features.at(slice(1, 2)), block, block)
    kernels = net.kernels()  # (9, 2, C, 2, 7, 7)
    assert kernels.shape == (9, 2, 2, 2, 7, 7)
    padded = F.pad(frames[0], (margin,) * 4, mode="replicate")[None]
    for index, (dx, dy) in enumerate(SHIFTS):
        for phase, energy in enumerate((even, odd)):
            response = F.conv3d(padded, kernels[index, phase][:, None])[0, :, 0]  # (C, 30, 34)
            rows, columns = (
                slice(12 + max(0, -dy), 24 - max(0, dy)),
                slice(12 + max(0, -dx), 24 - max(0, dx)),
            )
            expected = response[:, rows, columns].flatten(1).var(dim=1, unbiased=False)
            assert_close(energy[index, 0, :, 0, 1, 1], expected, rtol=1e-3, atol=1e-5)


def test_kernels_move_with_their_shift():
    net = EnergyNet(filters=2, kernel=3)
    still, right = net.kernels()[SHIFTS.index((0, 0))], net.kernels()[SHIFTS.index((1, 0))]
    assert_close(still[0, :, 0], still[0, :, 1])  # even: the frames are added
    assert_close(still[1, :, 0], -still[1, :, 1])  # odd: they are subtracted
    assert_close(right[:, :, 0], still[:, :, 0])
    assert_close(right[:, :, 1, :, 1:], still[:, :, 1, :, :-1])


@pytest.mark.parametrize("kind", NETS)
def test_gradients_reach_every_parameter(kind):
    torch.manual_seed(0)
    net = kind()
    net(torch.rand(4, 1, 2, 26, 26)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_half_precision_gives_finite_logits_and_the_same_shift(net, device):
    net = net.to(device)
    frames = torch.rand(2, 1, 2, 40, 40, device=device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        mixed = net(frames)
    assert torch.isfinite(mixed).all()
    assert (mixed[:, :LARGER].argmax(dim=1) == net(frames)[:, :LARGER].argmax(dim=1)).all()


def test_profiles_have_no_denormal_values():
    kernels = gaussian_kernels(4, 9, (0.2, 1.65))
    assert ((kernels == 0) | (kernels > 1e-8)).all()
    assert_close(kernels.flatten(1).norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 1}, "filters must be at least 2"),
        ({"width": 0}, "width at least 1"),
        ({"kernel": 4}, "kernel must be an odd number of pixels, got 4"),
    ],
)
def test_wrong_sizes_raise(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)
