"""Selection of changed blocks and their merging into regions."""

from dataclasses import replace

import pytest
import torch

from patchmatch.frames.regions import connected_components, merge_blocks, union_area
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


ROW = [[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]]
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
    assert select(Selection(min_score=0, merge=True), changes(FAR, score=[NAN] * 3)) == []


def test_touching_blocks_of_similar_motion_form_one_region():
    blocks = changes(ROW, [[3.0, 0.0], [3.5, -0.5], [3.0, 0.25]], score=[0.2, 0.9, 0.4])
    regions, area = merge_blocks(blocks)
    assert regions.boxes.tolist() == [[0, 0, 24, 8]]
    assert regions.displacement.tolist() == [[3.5, -0.5]]
    assert regions.score.tolist() == pytest.approx([0.9])
    assert regions.kind.tolist() == [Kind.LARGER]
    assert area.tolist() == [24 * 8]


def test_blocks_with_different_motion_a_gap_or_a_shared_corner_stay_separate():
    opposite = changes(ROW[:2], [[3.0, 0.0], [-3.0, 0.0]])
    gap = changes([[0, 0, 8, 8], [9, 0, 17, 8]])
    corner = changes([[0, 0, 8, 8], [8, 8, 16, 16]])
    for blocks in (opposite, gap, corner):
        assert len(merge_blocks(blocks)[0]) == 2
    edge = changes([[0, 0, 8, 8], [4, 8, 12, 16]])
    assert len(merge_blocks(edge)[0]) == 1


@pytest.mark.parametrize(
    ("motion0", "motion1", "regions"),
    [
        ([1.0, 0.0], [2.0, 0.0], 1),
        ([1.0, 0.0], [2.5, 0.0], 2),
        ([20.0, 0.0], [16.0, 0.0], 1),
        ([20.0, 0.0], [14.0, 0.0], 2),
    ],
)
def test_motions_are_similar_within_a_pixel_or_a_quarter(motion0, motion1, regions):
    assert len(merge_blocks(changes(ROW[:2], [motion0, motion1]))[0]) == regions


def test_unmatched_blocks_merge_only_with_each_other():
    blocks = changes(ROW, [[3.0, 0.0], [3.0, 0.0], [NAN, 0.0]], matched=[True, False, True])
    regions, area = merge_blocks(blocks)
    assert regions.boxes.tolist() == [[0, 0, 8, 8], [8, 0, 24, 8]]
    assert regions.matched.tolist() == [True, False]
    assert regions.kind.tolist() == [Kind.LARGER] * 2
    assert area.tolist() == [64, 128]


def test_kind_of_a_region_follows_its_displacement():
    diagonal = changes(ROW, [[1.2, 1.2]] * 3, kind=[Kind.LARGER] * 3)
    assert merge_blocks(diagonal)[0].kind.tolist() == [Kind.LARGER]
    slow = changes(ROW, [[0.2, 0.2]] * 3, kind=[Kind.ONE_PIXEL] * 3)
    assert merge_blocks(slow)[0].kind.tolist() == [Kind.ONE_PIXEL]  # never still


def test_kind_of_a_region_excludes_camera_motion():
    camera = torch.tensor([[2.0, 0.0]] * 3)
    regions, _ = merge_blocks(changes(ROW, [[1.0, 0.0]] * 3, camera=camera))
    assert regions.kind.tolist() == [Kind.ONE_PIXEL]
    assert regions.camera.tolist() == [[2.0, 0.0]]
    unknown = torch.full((3, 2), NAN)
    assert len(merge_blocks(changes(ROW, camera=unknown))[0]) == 1


def test_region_absorbs_the_smaller_ones_inside_its_box():
    """A frame of blocks that move alike around a block that moves otherwise."""
    grid = [[8 * x, 8 * y, 8 * x + 8, 8 * y + 8] for y in range(3) for x in range(3)]
    motion = [[3.0, 0.0]] * 9
    motion[4] = [-9.0, 0.0]
    score = [0.5] * 9
    score[4] = 0.9
    outside = [20, 30, 28, 38]
    blocks = changes([*grid, outside], [*motion, [0.0, 7.0]], score=[*score, 0.3])
    regions, area = merge_blocks(blocks)
    assert regions.boxes.tolist() == [[0, 0, 24, 24], outside]
    assert regions.displacement.tolist() == [[3, 0], [0, 7]]
    assert regions.score.tolist() == pytest.approx([0.9, 0.3])
    assert area.tolist() == [24 * 24, 64]


def test_equal_boxes_are_not_inside_each_other():
    blocks = changes([ROW[0], ROW[0]], [[3.0, 0.0], [-3.0, 0.0]])
    assert len(merge_blocks(blocks)[0]) == 2


def test_regions_are_sorted_by_score():
    blocks = changes([*ROW, [40, 0, 48, 8]], score=[0.5, 0.25, 0.5, 0.75])
    regions, area = merge_blocks(blocks)
    assert regions.score.tolist() == [0.75, 0.5]
    assert area.tolist() == [64, 192]


def test_confidence_of_a_region_is_the_mean_weighted_by_score():
    blocks = changes(ROW[:2], score=[0.25, 0.75], confidence=[1.0, 0.0])
    assert merge_blocks(blocks)[0].confidence.tolist() == pytest.approx([0.25])


def test_union_area_counts_overlapping_pixels_once():
    boxes = torch.tensor([[10, 5, 36, 31], [23, 5, 49, 31], [10, 18, 36, 44]])
    assert union_area(boxes) == 26 * 39 + 13 * 26


def test_no_blocks_give_no_regions():
    regions, area = merge_blocks(changes([]))
    assert (len(regions), area.tolist()) == (0, [])
    assert select(Selection(merge=True), changes(ROW, kind=[Kind.STILL] * 3)) == []


def test_connected_components_agree_with_a_flood_fill(monkeypatch, device, dtype):
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 60, (120, 2), generator=generator)
    boxes = torch.cat([corner, corner + 6], dim=1)
    motion = torch.randint(-1, 2, (120, 2), generator=generator) * 2.0

    def are_adjacent(i: int, j: int) -> bool:
        low, high = boxes[[i, j], :2].amax(dim=0), boxes[[i, j], 2:].amin(dim=0)
        overlap = (high - low).tolist()
        return min(overlap) >= 0 < max(overlap) and bool((motion[i] == motion[j]).all())

    expected = [-1] * 120
    for first in range(120):
        todo = [first] if expected[first] < 0 else []
        while todo:
            expected[i := todo.pop()] = first
            todo += [j for j in range(120) if expected[j] < 0 and are_adjacent(i, j)]
    assert len(set(expected)) > 5
    boxes, motion = boxes.to(device), motion.to(device, dtype)
    assert connected_components(boxes, motion).tolist() == expected
    monkeypatch.setattr("patchmatch.frames.regions.CHUNK", 7)
    assert connected_components(boxes, motion).tolist() == expected


def test_long_chain_is_one_component(device, dtype):
    boxes = torch.tensor([[8 * i, 0, 8 * i + 8, 8] for i in range(300)], device=device).flip(0)
    motion = torch.zeros(300, 2, device=device, dtype=dtype)
    assert connected_components(boxes, motion).tolist() == [0] * 300


def test_regions_are_selected_like_blocks():
    blocks = changes([*ROW, *FAR], score=[0.5, 0.5, 0.3, 0.9, 0.8, 0.7])
    assert select(Selection(merge=True, top_k=3), blocks) == [(40, 64), (60, 128), (80, 16)]
    assert select(Selection(merge=True, min_area=100), blocks) == [(60, 128), (0, 192)]


def test_selection_keeps_names_and_times_of_the_pair():
    blocks = replace(changes(ROW), time0=0.5, time1=0.75)
    regions, _ = Selection(merge=True)(blocks)
    assert (regions.source, regions.frame1, regions.time1) == ("run", "b", 0.75)
