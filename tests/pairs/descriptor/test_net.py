import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.descriptor.net import DescriptorNet


def test_descriptors_have_unit_norm_and_are_invariant_to_contrast():
    torch.manual_seed(0)
    net = DescriptorNet(8, 40, 16).eval()
    patches = 0.2 + 0.6 * torch.rand(5, 1, 16, 16)
    found = net(patches)
    assert found.shape == (5, 40)
    assert_close(found.norm(dim=1), torch.ones(5))
    assert_close(net(0.7 * patches + 0.1), found, atol=0.02, rtol=0)
    assert (found[0] - found[1]).abs().max() > 0.05
    assert_close(net(patches[3:4]), found[3:4], atol=1e-5, rtol=0)


def test_blank_patches_and_an_empty_batch_have_descriptors():
    net = DescriptorNet(8, 40, 16).eval()
    assert net(torch.zeros(2, 1, 16, 16)).isfinite().all()
    assert net(torch.zeros(0, 1, 16, 16)).shape == (0, 40)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 128, 32), "width must be even and at least 2, got 3"),
        ((8, 1, 32), "length must be at least 2, got 1"),
        ((8, 128, 20), "patch_size must be a multiple of 8 pixels, got 20"),
        ((8, 128, 0), "patch_size must be a multiple of 8 pixels, got 0"),
    ],
)
def test_wrong_sizes_raise(sizes, message):
    with pytest.raises(ValueError, match=message):
        DescriptorNet(*sizes)
