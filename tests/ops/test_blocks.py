import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops import block_boxes, block_counts, block_sums


def test_convention_boxes_are_xyxy_half_open_and_run_along_the_rows():
    boxes = block_boxes(height=7, width=11, block=4, stride=3)
    assert boxes.tolist() == [
        [0, 0, 4, 4],
        [3, 0, 7, 4],
        [6, 0, 10, 4],
        [0, 3, 4, 7],
        [3, 3, 7, 7],
        [6, 3, 10, 7],
    ]


def test_sums_agree_with_slices():
    image = torch.rand(2, 3, 17, 23, dtype=torch.float64)
    sums = block_sums(image.float(), block=5, stride=4)
    rows, columns = block_counts(17, 23, block=5, stride=4)
    assert sums.shape == (2, 3, rows, columns) == (2, 3, 4, 5)
    for i, (x0, y0, x1, y1) in enumerate(block_boxes(17, 23, 5, 4).tolist()):
        expected = image[..., y0:y1, x0:x1].sum(dim=(-2, -1)).float()
        assert_close(sums[..., i // columns, i % columns], expected)


def test_one_block_of_the_image_size_is_the_whole_image():
    assert block_boxes(26, 26, 26, 13).tolist() == [[0, 0, 26, 26]]


def test_blocks_of_constant_sums_do_not_lose_precision_on_large_images():
    sums = block_sums(torch.full((2000, 50), 0.1), block=26, stride=13)
    assert_close(sums, torch.full_like(sums, 67.6), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(25, 30), (30, 25)])
def test_an_image_smaller_than_a_block_is_refused(size):
    with pytest.raises(ValueError, match=r"at least as large as one block of 26x26 pixels, got"):
        block_counts(*size, block=26, stride=13)


@pytest.mark.parametrize(("block", "stride"), [(0, 1), (4, 0), (4, -1)])
def test_a_block_or_stride_below_one_is_refused(block, stride):
    with pytest.raises(ValueError, match="block and stride must be at least 1"):
        block_counts(10, 10, block, stride)
