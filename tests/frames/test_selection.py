"""Selection of changed blocks."""

from dataclasses import replace

import torch

from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.selection import Selection

NAN = float("nan")


def changes(boxes, displacement=None, score=None, matched=None, kind=None, **options):
    """Return blocks; by default matched, with score 0.5 and displacement (3, 0)."""
    count = len(boxes)
    return FrameChanges(
        source="run",
        frame0="a",
        frame1="b",
        boxes=torch.tensor(boxes, dtype=torch.long).reshape(count, 4),
        displacement=torch.tensor(displacement or [[3.0, 0.0]] * count).reshape(count, 2),
        kind=torch.tensor(kind or [Kind.LARGER] * count, dtype=torch.long),
        score=torch.tensor(score or [0.5] * count),
        matched=torch.tensor(matched or [True] * count, dtype=torch.bool),
        confidence=torch.tensor(options.pop("confidence", [0.75] * count)),
        **options,
    )


FAR = [[40, 0, 48, 8], [60, 0, 76, 8], [80, 0, 84, 4]]


def select(selection, blocks):
    selected, area = selection(blocks)
    return list(zip(selected.boxes[:, 0].tolist(), area.tolist(), strict=True))


def test_blocks_are_selected_by_score_confidence_area_and_number():
    blocks = changes(FAR, score=[0.3, 0.6, 0.9], confidence=[0.9, 0.2, NAN])
    assert select(Selection(), blocks) == [(80, 16), (60, 128), (40, 64)]
    assert select(Selection(min_score=0.5), blocks) == [(80, 16), (60, 128)]
    assert select(Selection(min_confidence=0.5), blocks) == [(40, 64)]
    assert select(Selection(min_area=64), blocks) == [(60, 128), (40, 64)]
    assert select(Selection(min_area=64, top_k=1), blocks) == [(60, 128)]


def test_nan_score_is_never_selected():
    assert select(Selection(min_score=0), changes(FAR, score=[NAN, 0.6, NAN])) == [(60, 128)]


def test_overlapping_blocks_are_suppressed_by_the_one_with_the_highest_score():
    blocks = changes([[0, 0, 8, 8], [4, 0, 12, 8], [8, 0, 16, 8]], score=[0.5, 0.9, 0.6])
    assert select(Selection(), blocks) == [(4, 64)]
    assert select(Selection(max_overlap=0.5), blocks) == [(4, 64), (8, 64), (0, 64)]


def test_a_list_that_is_cut_has_a_block_of_every_object():
    large = [[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8], [24, 0, 32, 8]]
    blocks = changes([*large, *FAR[:1]], score=[0.9, 0.8, 0.7, 0.6, 0.5])
    assert select(Selection(top_k=3), blocks) == [(0, 64), (16, 64), (40, 64)]
    assert select(Selection(top_k=4), blocks) == [(0, 64), (8, 64), (16, 64), (40, 64)]
    assert len(select(Selection(top_k=5), blocks)) == 5


def test_with_full_overlap_allowed_a_cut_list_has_the_highest_scores():
    blocks = changes([[0, 0, 8, 8], [4, 0, 12, 8], [60, 0, 68, 8]], score=[0.9, 0.8, 0.7])
    assert select(Selection(top_k=2, max_overlap=1), blocks) == [(0, 64), (4, 64)]


def test_still_blocks_are_never_selected():
    assert select(Selection(), changes(FAR, kind=[Kind.STILL] * 3)) == []


def test_selection_keeps_names_and_times_of_the_pair():
    blocks = replace(changes(FAR), time0=0.5, time1=0.75)
    selected, _ = Selection()(blocks)
    assert (selected.source, selected.frame1, selected.time1) == ("run", "b", 0.75)
