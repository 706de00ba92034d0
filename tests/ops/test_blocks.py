import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.blocks import block_boxes, block_counts, sliding_row_sums


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


@pytest.mark.parametrize("starts", [1, 2, 3])
def test_sums_agree_with_slices(starts, device, dtype):
    image = torch.rand(2, 3, 17, 5, device=device, dtype=dtype)
    sums = sliding_row_sums(image, side=6, stride=4, starts=starts)
    assert len(sums) == starts
    for start, found in enumerate(sums):
        assert found.shape == (2, 3, 3, 5)
        for i in range(3):
            row = start + 4 * i
            assert_close(found[..., i, :], image[..., row : row + 6, :].sum(dim=-2))


def test_block_of_the_image_size_covers_the_image():
    assert block_boxes(26, 26, 26, 13).tolist() == [[0, 0, 26, 26]]


def test_sums_do_not_lose_precision_on_large_images():
    for sums in sliding_row_sums(torch.full((2000, 50), 0.1), side=26, stride=13, starts=3):
        assert_close(sums, torch.full_like(sums, 2.6), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(25, 30), (30, 25)])
def test_image_smaller_than_a_block_raises(size):
    with pytest.raises(ValueError, match=r"at least as large as one block of 26x26 pixels, got"):
        block_counts(*size, block=26, stride=13)


@pytest.mark.parametrize(("block", "stride"), [(0, 1), (4, 0), (4, -1)])
def test_block_or_stride_below_one_raises(block, stride):
    with pytest.raises(ValueError, match="block and stride must be at least 1"):
        block_counts(10, 10, block, stride)
