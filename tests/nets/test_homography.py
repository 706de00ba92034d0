import pytest
import torch
from torch.testing import assert_close

from patchmatch.nets import HomographyNet
from patchmatch.nets.homography import local_correlation
from patchmatch.ops import image_corners


def test_correlation_is_that_of_pixels_a_displacement_apart():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    found = local_correlation(first, second, 1)
    assert found.shape == (2, 9, 4, 5)
    for number, (dy, dx) in enumerate((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        for y in range(4):
            for x in range(5):
                there = 0 <= y + dy < 4 and 0 <= x + dx < 5
                other = second[1, :, y + dy, x + dx] if there else torch.zeros(3)
                assert_close(found[1, number, y, x], first[1, :, y, x] @ other)


def test_an_untrained_net_says_that_nothing_moved():
    torch.manual_seed(0)
    net = HomographyNet(64, 8).eval()
    images = torch.rand(3, 1, 64, 64)
    found = net(images, images.flip(0), (1, 2))
    assert len(found) == 3
    for one in found:
        assert_close(
            one.corners, image_corners(64, 64).float().expand(3, -1, -1), atol=1e-3, rtol=0
        )


class Shifting(torch.nn.Module):
    """A head that always wants the corners to move by the same offset."""

    def __init__(self, offset):
        super().__init__()
        self.offset = torch.tensor(offset)

    def forward(self, compared):
        return torch.atanh(self.offset / (0.4 * 64)).flatten().expand(len(compared), -1)


def test_passes_add_up_in_the_frame_of_the_estimate():
    """After a first pass that halves the image, a later one moves half as far."""
    net = HomographyNet(64, 8).eval()
    corners = image_corners(64, 64)
    net.heads["coarse"] = Shifting((corners * 0.5 - corners + 10).float().tolist())
    net.heads["fine"] = Shifting([[4.0, -6.0]] * 4)
    images = torch.rand(2, 1, 64, 64)
    first, second = (one.corners for one in net(images, images, (1, 1)))
    assert_close(first[1], (corners * 0.5 + 10).float())
    assert_close(second[1], (corners * 0.5 + 10).float() + torch.tensor([2.0, -3.0]))


def test_image1_is_seen_under_the_estimate():
    """Once the estimate is right, features of both images agree best where nothing moves."""
    torch.manual_seed(0)
    net = HomographyNet(64, 8).eval()
    small = torch.rand(1, 1, 16, 16)
    scene = torch.nn.functional.interpolate(small, (96, 96), mode="bicubic")
    image0, image1 = scene[..., 16:80, 16:80], scene[..., 16:80, 24:88]  # moved by -8, 0
    seen = []
    net.heads["coarse"] = Shifting([[-8.0, 0.0]] * 4)

    def keep(_, inputs):
        seen.append(inputs[0][0, :, 2:-2, 2:-4].mean(dim=(1, 2)))

    net.heads["fine"].register_forward_pre_hook(keep)
    net(image0, image1, (0, 1))
    net(image0, image1, (1, 1))
    middle = 12  # of the 5x5 displacements; two features further left is 8 pixels
    assert seen[0].argmax() == middle - 2
    assert seen[1].argmax() == middle


@pytest.mark.parametrize(
    ("settings", "message"),
    [((100, 32), "a multiple of 32 and at least 64 pixels, got 100"), ((64, 5), "width must be")],
)
def test_wrong_sizes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HomographyNet(*settings)
