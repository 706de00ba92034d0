import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.blocks import (
    block_boxes,
    block_counts,
    block_starts,
    block_sums,
    sliding_row_sums,
)


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


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("starts", [1, 2, 3])
def test_sums_agree_with_slices(starts, edges, device, dtype):
    image = torch.rand(2, 3, 17, 5, device=device, dtype=dtype)
    sums = sliding_row_sums(image, side=6, stride=4, starts=starts, edges=edges)
    assert len(sums) == starts
    for start, found in enumerate(sums):
        firsts = block_starts(17 - starts + 1, 6, 4, edges=edges).tolist()
        assert found.shape == (2, 3, len(firsts), 5)
        for i, first in enumerate(firsts):
            row = start + first
            assert_close(found[..., i, :], image[..., row : row + 6, :].sum(dim=-2))


@pytest.mark.parametrize("size", [(240, 320), (26, 27), (100, 101), (39, 52)])
@pytest.mark.parametrize(("block", "stride"), [(26, 13), (26, 26), (16, 16)])
def test_blocks_cover_the_image_and_lie_inside(size, block, stride):
    boxes = block_boxes(*size, block, stride, edges=True)
    covered = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes.tolist():
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    assert (boxes[:, 2:] - boxes[:, :2] == block).all()
    assert boxes.min() == 0
    assert boxes.amax(dim=0)[2:].tolist() == list(size[::-1])
    assert len(boxes.unique(dim=0)) == len(boxes)
    rows, columns = block_counts(*size, block, stride, edges=True)
    assert len(boxes) == rows * columns


@pytest.mark.parametrize("dim", [-1, -2])
def test_sums_of_blocks_agree_with_slices(dim, device, dtype):
    values = torch.rand(2, 19, 22, device=device, dtype=dtype)
    sums = block_sums(values, dim, side=6, stride=4, edges=True)
    starts = block_starts(values.shape[dim], 6, 4, edges=True).tolist()
    assert starts[-1] == values.shape[dim] - 6
    for i, start in enumerate(starts):
        assert_close(sums.select(dim, i), values.narrow(dim, start, 6).sum(dim=dim))


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
