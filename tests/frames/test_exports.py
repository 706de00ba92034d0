"""Exported files and table rows."""

import json

import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.frames.exports import block_flow, pixel_flow, write_block_arrays, write_jsonl
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.rows import CHANGE_COLUMNS, PAIR_COLUMNS, change_rows, pair_row
from patchmatch.writing.rows import number

NAN = float("nan")


def changes(boxes, displacement, matched=None, **options):
    count = len(boxes)
    defaults = {
        "kind": torch.full((count,), Kind.LARGER, dtype=torch.long),
        "score": torch.full((count,), 0.5),
        "confidence": torch.full((count,), 0.75),
    }
    return FrameChanges(
        source="run",
        frame0="a",
        frame1="b",
        boxes=torch.tensor(boxes, dtype=torch.long).reshape(count, 4),
        displacement=torch.tensor(displacement).reshape(count, 2),
        matched=torch.tensor(matched or [True] * count, dtype=torch.bool),
        **defaults | options,
    )


def test_pixel_has_the_displacement_of_the_block_with_the_nearest_centre():
    boxes = [[0, 0, 8, 6], [4, 0, 12, 6], [4, 3, 12, 9]]
    motion = [[1.0, 0.5], [2.0, 0.0], [0.0, -3.0]]
    blocks = changes(boxes, motion)
    flow, valid = block_flow(blocks, height=10, width=14)
    for y in range(10):
        for x in range(14):
            covering = [
                (round((x - (x0 + x1 - 1) / 2) ** 2 + (y - (y0 + y1 - 1) / 2) ** 2, 6), index)
                for index, (x0, y0, x1, y1) in enumerate(boxes)
                if x0 <= x < x1 and y0 <= y < y1
            ]
            assert valid[y, x] == bool(covering)
            assert flow[y, x].tolist() == (motion[min(covering)[1]] if covering else [0, 0])


def test_unmatched_block_invalidates_its_pixels():
    blocks = changes([[0, 0, 8, 8], [2, 0, 10, 8]], [[1.0, 0.0], [2.0, 0.0]], [False, True])
    flow, valid = block_flow(blocks, 8, 10)
    assert valid[0].tolist() == [False] * 5 + [True] * 5
    assert flow[0, :, 0].tolist() == [0] * 5 + [2] * 5
    blocks = changes([[0, 0, 8, 8]], [[NAN, 0.0]])
    assert not block_flow(blocks, 8, 10)[1].any()


def test_flow_without_blocks_is_invalid_and_blocks_are_clipped_to_the_frame():
    flow, valid = block_flow(changes([], []), 4, 6)
    assert (flow.shape, flow.dtype, valid.any()) == ((4, 6, 2), np.float32, np.False_)
    assert block_flow(changes([[-3, 2, 3, 9]], [[1.0, 1.0]]), 4, 6)[1].sum() == 2 * 3


def test_flow_is_against_the_scene_and_the_total_includes_the_camera():
    camera = torch.tensor([[6.0, -2.0]])
    blocks = changes([[0, 0, 8, 8]], [[0.0, 1.0]], camera=camera)
    assert block_flow(blocks, 8, 8)[0][3, 3].tolist() == [0, 1]
    assert block_flow(blocks, 8, 8, total=True)[0][3, 3].tolist() == [6, -1]


def test_npz_contains_all_blocks_as_arrays(tmp_path):
    blocks = changes([[0, 0, 8, 8], [2, 0, 10, 8]], [[1.0, 0.0], [2.0, 0.5]], [False, True])
    write_block_arrays(tmp_path / "a.npz", blocks)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["boxes"].tolist() == blocks.boxes.tolist()
        assert np.isnan(arrays["displacement"][0]).all()  # unmatched
        assert arrays["displacement"][1].tolist() == [2, 0.5]
        assert arrays["matched"].tolist() == [False, True]
        assert np.isnan(arrays["camera"]).all()
        assert set(arrays) == {
            *("boxes", "displacement", "kind", "score", "matched", "confidence", "camera"),
            "displacement_total",
        }
    camera = torch.tensor([[0.5, 0.0]] * 2)
    write_block_arrays(
        tmp_path / "b.npz", changes([[0, 0, 8, 8]] * 2, [[1.0, 0.0]] * 2, camera=camera)
    )
    with np.load(tmp_path / "b.npz") as arrays:
        assert arrays["camera"].tolist() == [[0.5, 0]] * 2
        assert arrays["displacement"].tolist() == [[1, 0]] * 2
        assert arrays["displacement_total"].tolist() == [[1.5, 0]] * 2


def test_row_of_a_block_has_all_columns():
    blocks = changes(
        [[2, 1, 14, 9]],
        [[12.34567, -3.0]],
        camera=torch.tensor([[0.25, -1.0]]),
        time0=1.0,
        time1=1 / 3,
    )
    (row,) = change_rows(blocks, torch.tensor([96]))
    assert tuple(row) == CHANGE_COLUMNS
    assert list(row.values()) == [
        *("run", "a", "b", 2, 1, 14, 9, 12.3457, -3, "larger", 0.5, 1, 0.333333),
        *(True, 0.75, 0.25, -1, 96, 12.5957, -4),
    ]


def test_unknown_values_are_none_in_a_row():
    nan = torch.tensor([NAN])
    blocks = changes([[0, 0, 8, 8]], [[NAN, 2.0]], score=nan, confidence=nan)
    (row,) = change_rows(blocks, torch.tensor([64]))
    unknown = {name for name, value in row.items() if value is None}
    assert unknown == {
        *("dx", "score", "time0", "time1", "confidence", "camera_dx", "camera_dy", "dx_total")
    }
    unmatched = changes([[0, 0, 8, 8]], [[1.0, 2.0]], [False])
    (row,) = change_rows(unmatched, torch.tensor([64]))
    assert (row["dx"], row["dy"], row["matched"]) == (None, None, False)
    assert (row["dx_total"], row["dy_total"]) == (None, None)


def test_row_of_a_pair_counts_its_blocks():
    blocks = changes(
        [[0, 0, 8, 8]] * 4,
        [[0.0, 0.0]] * 4,
        [True, True, True, False],
        kind=torch.tensor([0, 1, 1, 2]),
        score=torch.tensor([0.0, 0.5, NAN, 1.0]),
        time1=0.04,
    )
    row = pair_row(blocks, boxes=2)
    assert tuple(row) == PAIR_COLUMNS
    assert list(row.values()) == ["run", "a", "b", None, 0.04, 4, 1, 2, 1, 1, 0.5, 2]
    assert pair_row(changes([], []), boxes=0)["mean_score"] is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2.0, 2), (-0.0, 0), (1.25, 1.25), (0.99999, 1), (1 / 3, 0.3333), (NAN, None), (None, None)],
)
def test_number_is_rounded_to_the_shortest_form(value, expected):
    assert number(value) == expected
    assert type(number(value)) is type(expected)


def test_json_lines_contain_numbers_and_null(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"dx": None, "score": 0.5, "source": "Kühe"}, {"dx": 1}])
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == '{"dx": null, "score": 0.5, "source": "Kühe"}'
    assert json.loads(lines[1]) == {"dx": 1}


def test_npz_that_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file where a folder is needed"):
        write_block_arrays(tmp_path / "file/a.npz", changes([[0, 0, 8, 8]], [[0.0, 0.0]]))


def test_measured_flow_of_pixels_comes_before_that_of_blocks():
    flow = torch.arange(2 * 4 * 6).reshape(2, 4, 6).float()
    flow[:, 1, 2] = NAN
    boxes = [[0, 0, 2, 2], [2, 0, 4, 2], [4, 0, 6, 2], [0, 2, 2, 4], [2, 2, 4, 4], [4, 2, 6, 4]]
    corners = torch.tensor(boxes)[:, :2].float()
    camera = 0.5 * corners + torch.tensor([1.0, 2.0])  # affine: 0.5 (x - 0.5) + 1 at centre x
    blocks = changes(boxes, [[0.0, 0.0]] * 6, camera=camera, flow=flow)
    total, valid = pixel_flow(blocks, 4, 6, total=True)
    assert valid.tolist() == [[not (y == 1 and x == 2) for x in range(6)] for y in range(4)]
    assert total[3, 5].tolist() == [23, 47]
    assert total[1, 2].tolist() == [0, 0]
    own, _ = pixel_flow(blocks, 4, 6)
    x, y = 5, 3
    expected = [23 - (0.5 * (x - 0.5) + 1), 47 - (0.5 * (y - 0.5) + 2)]
    assert own[3, 5].tolist() == pytest.approx(expected, abs=1e-4)
    without = changes(boxes, [[1.0, 2.0]] * 6)
    assert pixel_flow(without, 4, 6)[0].tolist() == block_flow(without, 4, 6)[0].tolist()
