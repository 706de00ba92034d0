import torch
from torch.testing import assert_close

from patchmatch.ops.luma import luma


def test_green_is_brighter_than_red_and_red_than_blue():
    assert_close(luma(torch.eye(3).view(3, 3, 1, 1)).flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_gray_stays_gray_whatever_stands_before_the_channels():
    gray = torch.rand(2, 4, 1, 5, 6)
    assert_close(luma(gray.expand(2, 4, 3, 5, 6)), gray)
    assert_close(luma(gray[0, 0].expand(3, 5, 6)), gray[0, 0])
