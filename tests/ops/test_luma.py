import torch
from torch.testing import assert_close

from patchmatch.ops.luma import luma


def test_weights_of_red_green_and_blue(device, dtype):
    colors = torch.eye(3, device=device, dtype=dtype).view(3, 3, 1, 1)
    assert_close(luma(colors).flatten(), colors.new_tensor([0.299, 0.587, 0.114]))


def test_gray_is_unchanged_with_any_leading_axes(device, dtype):
    gray = torch.rand(2, 4, 1, 5, 6, device=device, dtype=dtype)
    assert_close(luma(gray.expand(2, 4, 3, 5, 6)), gray)
    assert_close(luma(gray[0, 0].expand(3, 5, 6)), gray[0, 0])
