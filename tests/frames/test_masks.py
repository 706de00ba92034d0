import re

import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.frames.masks import Masks
from patchmatch.io import write_image


def mask(path, rows: slice, columns: slice, size=(20, 30), value=255) -> str:
    picture = np.zeros(size, np.uint8)
    picture[rows, columns] = value
    write_image(path, picture)
    return str(path)


def test_a_block_counts_if_more_than_half_of_it_lies_inside(tmp_path):
    roi = mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    boxes = torch.tensor([[4, 0, 14, 8], [5, 0, 15, 8], [6, 0, 16, 8], [0, 12, 6, 20]])
    assert Masks.read(roi, None).inside(boxes).tolist() == [True, False, False, True]


def test_what_is_to_be_ignored_counts_for_nothing(tmp_path):
    roi = mask(tmp_path / "roi.png", slice(0, 20), slice(0, 20))
    ignore = mask(tmp_path / "ignore.png", slice(0, 10), slice(0, 30))
    boxes = torch.tensor([[0, 0, 8, 8], [0, 6, 8, 14], [0, 5, 8, 16], [22, 12, 30, 20]])
    assert Masks.read(roi, ignore).inside(boxes).tolist() == [False, False, True, False]
    assert Masks.read(None, ignore).inside(boxes).tolist() == [False, False, True, True]


def test_the_share_is_counted_as_loops_count_it(tmp_path):
    rng = np.random.default_rng(0)
    usable = rng.random((20, 30)) < 0.5
    write_image(tmp_path / "roi.png", (usable * 255).astype(np.uint8))
    corners = torch.from_numpy(rng.integers(0, (24, 14), (50, 2)))
    boxes = torch.cat([corners, corners + torch.tensor([6, 5])], dim=1)
    expected = [bool(usable[y0:y1, x0:x1].mean() > 0.5) for x0, y0, x1, y1 in boxes.tolist()]
    assert Masks.read(str(tmp_path / "roi.png"), None).inside(boxes).tolist() == expected


def test_gray_is_white_above_half_and_colors_count_by_their_luma(tmp_path):
    boxes = torch.tensor([[0, 0, 4, 4]])
    for value, inside in ((127, False), (128, True)):
        picture = np.full((6, 6, 3), value, np.uint8)
        picture[5, 5] = 255
        write_image(tmp_path / "roi.png", picture)
        assert Masks.read(str(tmp_path / "roi.png"), None).inside(boxes).tolist() == [inside]


def test_without_masks_everything_counts_in_frames_of_any_size():
    masks = Masks.read(None, None)
    masks.require_size((3, 5), "cows")
    assert masks.inside(torch.tensor([[0, 0, 900, 900]])).tolist() == [True]
    assert masks.inside(torch.zeros(0, 4, dtype=torch.long)).shape == (0,)


def test_no_block_is_no_question(tmp_path):
    roi = mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    assert Masks.read(roi, None).inside(torch.zeros(0, 4, dtype=torch.long)).shape == (0,)


def test_a_mask_of_another_size_is_refused_with_both_sizes_and_the_file(tmp_path):
    roi = mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    message = rf"{re.escape(roi)}: .* it is 30x20 and the frames of cows are 20x30; draw it"
    with pytest.raises(InputError, match=message):
        Masks.read(roi, None).require_size((30, 20, 3), "cows")
    Masks.read(roi, None).require_size((20, 30, 3), "cows")


def test_masks_of_different_sizes_are_refused(tmp_path):
    roi = mask(tmp_path / "roi.png", slice(0, 20), slice(0, 10))
    ignore = mask(tmp_path / "ignore.png", slice(0, 5), slice(0, 5), size=(10, 15))
    with pytest.raises(InputError, match=r"roi.png is 30x20, .*ignore.png is 15x10"):
        Masks.read(roi, ignore)


def test_masks_that_leave_nothing_are_refused(tmp_path):
    black = mask(tmp_path / "roi.png", slice(0, 0), slice(0, 0))
    white = mask(tmp_path / "ignore.png", slice(0, 20), slice(0, 30))
    for roi, ignore in ((black, None), (None, white)):
        with pytest.raises(InputError, match="no pixel is left to look at"):
            Masks.read(roi, ignore)


def test_a_missing_mask_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Masks.read(str(tmp_path / "none.png"), None)
