"""What is shown of the blocks that changed, and how they become regions."""

from dataclasses import replace

import pytest
import torch

from patchmatch.frames.regions import connected, covered, merge_blocks
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.selection import Selection

NAN = float("nan")


def changes(boxes, displacement=None, score=None, matched=None, kind=None, **options):
    """Return matched blocks of score 0.5 that move by (3, 0), unless told otherwise."""
    count = len(boxes)
    return FrameChanges(
        "run",
        "a",
        "b",
        boxes=torch.tensor(boxes, dtype=torch.long).reshape(count, 4),
        displacement=torch.tensor(displacement or [[3.0, 0.0]] * count).reshape(count, 2),
        kind=torch.tensor(kind or [Kind.LARGER] * count, dtype=torch.long),
        score=torch.tensor(score or [0.5] * count),
        matched=torch.tensor(matched or [True] * count, dtype=torch.bool),
        confidence=torch.tensor(options.pop("confidence", [0.75] * count)),
        **options,
    )


ROW = [[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]]
FAR = [[40, 0, 48, 8], [60, 0, 76, 8], [80, 0, 84, 4]]


def shown(selection, found):
    chosen, area = selection(found)
    return list(zip(chosen.boxes[:, 0].tolist(), area.tolist(), strict=True))


def test_blocks_are_shown_by_score_confidence_area_and_number():
    found = changes(FAR, score=[0.3, 0.6, 0.9], confidence=[0.9, 0.2, NAN])
    assert shown(Selection(), found) == [(80, 16), (60, 128), (40, 64)]
    assert shown(Selection(min_score=0.5), found) == [(80, 16), (60, 128)]
    assert shown(Selection(min_confidence=0.5), found) == [(40, 64)]
    assert shown(Selection(min_area=64), found) == [(60, 128), (40, 64)]
    assert shown(Selection(min_area=64, top_k=1), found) == [(60, 128)]


def test_a_score_that_is_no_number_is_no_change():
    assert shown(Selection(min_score=0), changes(FAR, score=[NAN, 0.6, NAN])) == [(60, 128)]
    assert shown(Selection(min_score=0, merge=True), changes(FAR, score=[NAN] * 3)) == []


def test_touching_blocks_of_a_like_motion_are_one_region():
    found = changes(ROW, [[3.0, 0.0], [3.5, -0.5], [3.0, 0.25]], score=[0.2, 0.9, 0.4])
    regions, area = merge_blocks(found)
    assert regions.boxes.tolist() == [[0, 0, 24, 8]]
    assert regions.displacement.tolist() == [[3.5, -0.5]]
    assert regions.score.tolist() == pytest.approx([0.9])
    assert regions.kind.tolist() == [Kind.LARGER]
    assert area.tolist() == [24 * 8]


def test_blocks_that_move_apart_lie_apart_or_share_a_corner_only_stay_apart():
    apart = changes(ROW[:2], [[3.0, 0.0], [-3.0, 0.0]])
    gap = changes([[0, 0, 8, 8], [9, 0, 17, 8]])
    corner = changes([[0, 0, 8, 8], [8, 8, 16, 16]])
    for found in (apart, gap, corner):
        assert len(merge_blocks(found)[0]) == 2
    edge = changes([[0, 0, 8, 8], [4, 8, 12, 16]])
    assert len(merge_blocks(edge)[0]) == 1


@pytest.mark.parametrize(
    ("one", "other", "regions"),
    [
        ([1.0, 0.0], [2.0, 0.0], 1),
        ([1.0, 0.0], [2.5, 0.0], 2),
        ([20.0, 0.0], [16.0, 0.0], 1),
        ([20.0, 0.0], [14.0, 0.0], 2),
    ],
)
def test_motions_are_alike_within_a_pixel_or_a_quarter(one, other, regions):
    assert len(merge_blocks(changes(ROW[:2], [one, other]))[0]) == regions


def test_blocks_without_a_match_join_only_one_another():
    found = changes(ROW, [[3.0, 0.0], [3.0, 0.0], [NAN, 0.0]], matched=[True, False, True])
    regions, area = merge_blocks(found)
    assert regions.boxes.tolist() == [[0, 0, 8, 8], [8, 0, 24, 8]]
    assert regions.matched.tolist() == [True, False]
    assert regions.kind.tolist() == [Kind.LARGER] * 2
    assert area.tolist() == [64, 128]


def test_the_kind_of_a_region_is_that_of_its_length():
    diagonal = changes(ROW, [[1.2, 1.2]] * 3, kind=[Kind.LARGER] * 3)
    assert merge_blocks(diagonal)[0].kind.tolist() == [Kind.LARGER]
    slow = changes(ROW, [[0.2, 0.2]] * 3, kind=[Kind.ONE_PIXEL] * 3)
    assert merge_blocks(slow)[0].kind.tolist() == [Kind.ONE_PIXEL]  # it changed, somewhere


def test_the_camera_is_no_motion_of_its_own():
    camera = torch.tensor([[2.0, 0.0]] * 3)
    regions, _ = merge_blocks(changes(ROW, [[3.0, 0.0]] * 3, camera=camera))
    assert regions.kind.tolist() == [Kind.ONE_PIXEL]
    assert regions.camera.tolist() == [[2.0, 0.0]]
    unknown = torch.full((3, 2), NAN)
    assert len(merge_blocks(changes(ROW, camera=unknown))[0]) == 1


def test_the_most_changed_region_comes_first():
    found = changes([*ROW, [40, 0, 48, 8]], score=[0.5, 0.25, 0.5, 0.75])
    regions, area = merge_blocks(found)
    assert regions.score.tolist() == [0.75, 0.5]
    assert area.tolist() == [64, 192]


def test_the_confidence_of_a_region_is_the_mean_weighted_by_score():
    found = changes(ROW[:2], score=[0.25, 0.75], confidence=[1.0, 0.0])
    assert merge_blocks(found)[0].confidence.tolist() == pytest.approx([0.25])


def test_the_pixels_of_overlapping_blocks_count_once():
    boxes = torch.tensor([[10, 5, 36, 31], [23, 5, 49, 31], [10, 18, 36, 44]])
    assert covered(boxes) == 26 * 39 + 13 * 26


def test_no_block_makes_no_region():
    regions, area = merge_blocks(changes([]))
    assert (len(regions), area.tolist()) == (0, [])
    assert shown(Selection(merge=True), changes(ROW, kind=[Kind.STILL] * 3)) == []


def test_groups_are_those_that_a_search_finds(monkeypatch):
    """A flood fill over all pairs, six lines of Python, agrees; so it does in small portions."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 60, (120, 2), generator=generator)
    boxes = torch.cat([corner, corner + 6], dim=1)
    motion = torch.randint(-1, 2, (120, 2), generator=generator) * 2.0

    def joined(i: int, j: int) -> bool:
        low, high = boxes[[i, j], :2].amax(dim=0), boxes[[i, j], 2:].amin(dim=0)
        common = (high - low).tolist()
        return min(common) >= 0 < max(common) and bool((motion[i] == motion[j]).all())

    expected = [-1] * 120
    for first in range(120):
        todo = [first] if expected[first] < 0 else []
        while todo:
            expected[i := todo.pop()] = first
            todo += [j for j in range(120) if expected[j] < 0 and joined(i, j)]
    assert len(set(expected)) > 5
    assert connected(boxes, motion).tolist() == expected
    monkeypatch.setattr("patchmatch.frames.regions.AT_ONCE", 7)
    assert connected(boxes, motion).tolist() == expected


def test_a_long_chain_is_one_region():
    boxes = torch.tensor([[8 * i, 0, 8 * i + 8, 8] for i in range(300)]).flip(0)
    assert connected(boxes, torch.zeros(300, 2)).tolist() == [0] * 300


def test_regions_are_chosen_like_blocks():
    found = changes([*ROW, *FAR], score=[0.5, 0.5, 0.3, 0.9, 0.8, 0.7])
    assert shown(Selection(merge=True, top_k=3), found) == [(40, 64), (60, 128), (80, 16)]
    assert shown(Selection(merge=True, min_area=100), found) == [(60, 128), (0, 192)]


def test_the_names_and_times_of_the_pair_are_kept():
    found = replace(changes(ROW), time0=0.5, time1=0.75)
    regions, _ = Selection(merge=True)(found)
    assert (regions.source, regions.frame1, regions.time1) == ("run", "b", 0.75)
