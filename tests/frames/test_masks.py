import re

import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.frames.masks import Masks
from patchmatch.io import write_image


def write_mask(path, rows: slice, columns: slice, size=(20, 30)) -> str:
    image = np.zeros(size, np.uint8)
    image[rows, columns] = 255
    write_image(path, image)
    return str(path)


def test_block_is_valid_if_more_than_half_is_inside(tmp_path):
    roi = write_mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    boxes = torch.tensor([[4, 0, 14, 8], [5, 0, 15, 8], [6, 0, 16, 8], [0, 12, 6, 20]])
    assert Masks.read(roi, None).contains(boxes).tolist() == [True, False, False, True]


def test_ignored_pixels_are_invalid(tmp_path):
    roi = write_mask(tmp_path / "roi.png", slice(0, 20), slice(0, 20))
    ignore = write_mask(tmp_path / "ignore.png", slice(0, 10), slice(0, 30))
    boxes = torch.tensor([[0, 0, 8, 8], [0, 6, 8, 14], [0, 5, 8, 16], [22, 12, 30, 20]])
    assert Masks.read(roi, ignore).contains(boxes).tolist() == [False, False, True, False]
    assert Masks.read(None, ignore).contains(boxes).tolist() == [False, False, True, True]


def test_contains_agrees_with_a_loop(tmp_path):
    rng = np.random.default_rng(0)
    valid = rng.random((20, 30)) < 0.5
    write_image(tmp_path / "roi.png", (valid * 255).astype(np.uint8))
    corners = torch.from_numpy(rng.integers(0, (24, 14), (50, 2)))
    boxes = torch.cat([corners, corners + torch.tensor([6, 5])], dim=1)
    expected = [bool(valid[y0:y1, x0:x1].mean() > 0.5) for x0, y0, x1, y1 in boxes.tolist()]
    assert Masks.read(str(tmp_path / "roi.png"), None).contains(boxes).tolist() == expected


def test_mask_is_thresholded_at_half_luma(tmp_path):
    boxes = torch.tensor([[0, 0, 4, 4]])
    for value, is_valid in ((127, False), (128, True)):
        image = np.full((6, 6, 3), value, np.uint8)
        image[5, 5] = 255
        write_image(tmp_path / "roi.png", image)
        assert Masks.read(str(tmp_path / "roi.png"), None).contains(boxes).tolist() == [is_valid]


def test_all_blocks_are_valid_without_masks():
    masks = Masks.read(None, None)
    masks.require_size((3, 5), "cows")
    assert masks.contains(torch.tensor([[0, 0, 900, 900]])).tolist() == [True]
    assert masks.contains(torch.zeros(0, 4, dtype=torch.long)).shape == (0,)


def test_empty_boxes_give_an_empty_result(tmp_path):
    roi = write_mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    assert Masks.read(roi, None).contains(torch.zeros(0, 4, dtype=torch.long)).shape == (0,)


def test_mask_of_another_size_raises_with_both_sizes_and_the_file(tmp_path):
    roi = write_mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    message = rf"{re.escape(roi)}: .* it is 30x20 and the frames of cows are 20x30; draw it"
    with pytest.raises(InputError, match=message):
        Masks.read(roi, None).require_size((30, 20, 3), "cows")
    Masks.read(roi, None).require_size((20, 30, 3), "cows")


def test_masks_of_different_sizes_raise(tmp_path):
    roi = write_mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    ignore = write_mask(tmp_path / "ignore.png", slice(0, 5), slice(0, 5), size=(10, 15))
    with pytest.raises(InputError, match=r"roi.png is 30x20, .*ignore.png is 15x10"):
        Masks.read(roi, ignore)


def test_masks_without_valid_pixels_raise(tmp_path):
    black = write_mask(tmp_path / "roi.png", slice(0, 0), slice(0, 0))
    white = write_mask(tmp_path / "ignore.png", slice(0, 20), slice(0, 30))
    for roi, ignore in ((black, None), (None, white)):
        with pytest.raises(InputError, match="the masks exclude every pixel"):
            Masks.read(roi, ignore)


def test_missing_mask_raises(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Masks.read(str(tmp_path / "none.png"), None)
