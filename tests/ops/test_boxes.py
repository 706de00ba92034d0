"""Overlap of boxes."""

import torch
from torch.testing import assert_close

from patchmatch.ops.boxes import box_areas, box_iou, shared_areas

BOXES0 = torch.tensor([[0.0, 0, 10, 20], [50, 0, 60, 20]])
BOXES1 = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 20]])


def test_overlap_of_boxes_by_hand():
    assert_close(box_areas(BOXES0), torch.tensor([200.0, 200]))
    assert_close(shared_areas(BOXES0, BOXES1), torch.tensor([[100.0, 100], [0, 0]]))
    assert_close(box_iou(BOXES0, BOXES1), torch.tensor([[0.5, 1 / 3], [0, 0]]))


def test_no_boxes_and_boxes_of_no_area():
    assert box_iou(torch.zeros(0, 4), BOXES1).shape == (0, 2)
    assert_close(box_iou(torch.zeros(1, 4), torch.zeros(1, 4)), torch.zeros(1, 1))
