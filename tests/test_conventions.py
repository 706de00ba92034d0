"""Conventions that belong to no room alone; docs/conventions.md names the test of each."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from patchmatch.draw import draw_boxes
from patchmatch.frames.results import FrameChanges, Kind, kind_of, rank, score_of_length
from patchmatch.frames.rows import change_rows
from patchmatch.io import read_image, read_image_size, to_gray_float, write_image
from patchmatch.ops.blocks import block_counts
from patchmatch.shift.energy import EnergyNet
from patchmatch.shift.matcher import ShiftMatcher, decide

ROOT = Path(__file__).parents[1]
CONVENTION = re.compile(r"\btest_convention_\w+")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def changes(kind: list[Kind], score: list[float]) -> FrameChanges:
    count = len(kind)
    boxes = torch.arange(count * 4).reshape(count, 4)
    sure = torch.ones(count)
    return FrameChanges(
        source="run", frame0="a", frame1="b", boxes=boxes, displacement=torch.zeros(count, 2),
        kind=torch.tensor(kind), score=torch.tensor(score), matched=sure.bool(), confidence=sure,
    )  # fmt: skip


def test_convention_image_is_float_from_0_to_1_in_the_order_rgb(tmp_path):
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 0] = 255, 0, 0
    picture[1, 2] = 255, 255, 255
    write_image(tmp_path / "p.png", picture)
    assert read_image(tmp_path / "p.png")[0, 0].tolist() == [255, 0, 0]
    gray = to_gray_float(picture)
    assert gray.dtype == np.float32
    assert gray[0, 0] == pytest.approx(0.299, abs=1e-3)  # the luma of red; of blue it is 0.114
    assert gray[1, 2] == 1


def test_convention_sizes_are_height_then_width(tmp_path):
    write_image(tmp_path / "p.png", np.zeros((2, 3), np.uint8))
    assert read_image_size(tmp_path / "p.png") == (2, 3)
    assert block_counts(9, 20, block=4, stride=5) == (2, 4)  # rows, columns


def test_convention_boxes_are_drawn_inside_their_pixels():
    drawn = draw_boxes(np.zeros((40, 60), np.uint8), [(5, 2, 45, 32)], [(255, 0, 0)], thickness=1)
    y, x = np.nonzero(drawn[..., 0])
    assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == (5, 2, 45, 32)


def test_convention_time_is_the_depth_axis_of_frames():
    net = EnergyNet().eval()
    frames = noise(2, 1, 3, 29, 44)  # (B, C, T, H, W)
    logits = net(frames, block=20, stride=8)
    assert logits.shape == (2, 10, 2, 2, 4)  # (B, classes, T - 1, rows, columns)
    for time in (0, 1):
        pair = net(frames[:, :, time : time + 2], block=20, stride=8)
        torch.testing.assert_close(logits[:, :, time : time + 1], pair, atol=1e-4, rtol=1e-4)


def test_convention_kinds_are_still_one_pixel_and_larger():
    assert [(int(kind), kind.label) for kind in Kind] == [
        (0, "still"),
        (1, "one_pixel"),
        (2, "larger"),
    ]


@pytest.mark.parametrize(("length", "score"), [(0.0, 0), (1.0, 0.5), (3.0, 0.75), (9.0, 0.9)])
def test_convention_change_score_is_the_length_beyond_that_of_the_scene(length, score):
    still_scene = torch.tensor([0.0, 0.0, 0.0, length])
    assert score_of_length(still_scene)[3].item() == pytest.approx(score)
    moving_scene = torch.tensor([4.0, 4.0, 4.0, length])
    assert score_of_length(moving_scene)[3].item() == pytest.approx(length / (length + 5))


def test_convention_equal_scores_are_ordered_by_confidence():
    score, confidence = torch.tensor([0.5, 0.5, 0.9]), torch.tensor([0.6, 0.8, 0.1])
    assert rank(score, confidence).tolist() == [2, 1, 0]
    first = rank(torch.full((1000,), 0.5), torch.ones(1000))[:20]  # spread, not the first 20
    assert first.sort().values.diff().max() < 300
    assert first.max() > 500


def test_convention_score_of_a_patch_pair_is_the_probability_of_the_answer():
    matcher = ShiftMatcher().eval()
    patches0, patches1 = noise(3, 1, 26, 26), noise(3, 1, 26, 26, seed=1)
    found = matcher.match_patches(patches0, patches1)
    with torch.inference_mode():
        probability = matcher(torch.stack([patches0, patches1], dim=2)).softmax(dim=1)
    torch.testing.assert_close(found.score, probability.amax(dim=1))


def test_convention_higher_scores_come_first_and_still_is_no_change():
    kinds = [Kind.ONE_PIXEL, Kind.STILL, Kind.LARGER, Kind.ONE_PIXEL]
    top = changes(kinds, [0.5, 0.9, 0.8, 0.5]).top(3)
    assert top.score.tolist() == pytest.approx([0.8, 0.5, 0.5])
    assert top.boxes[0, 0] == 8


def test_convention_the_two_images_have_the_suffixes_0_and_1():
    wrong = []
    for path in (ROOT / "patchmatch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg) and re.search(
                r"[a-z]2$|_(a|b|left|right|src|dst)$", node.arg
            ):
                wrong.append(f"{path.name}:{node.lineno}: {node.arg}")
    assert wrong == []


def test_every_convention_is_in_the_table_and_has_its_test():
    page = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    pinned, _, planned = page.partition("## Reserved terms")
    written = {
        match.removeprefix("def ")
        for path in (ROOT / "tests").rglob("test_*.py")
        for match in re.findall(r"(?<=^def )test_convention_\w+", path.read_text("utf-8"), re.M)
    }
    assert set(CONVENTION.findall(pinned)) == written
    assert not written & set(CONVENTION.findall(planned))


def test_convention_kinds_of_motion_round_its_length():
    lengths = torch.tensor([0.0, 0.49, 0.5, 1.49, 1.5, 30.0])
    expected = [Kind.STILL] * 2 + [Kind.ONE_PIXEL] * 2 + [Kind.LARGER] * 2
    for direction in ([1.0, 0.0], [0.0, -1.0], [-0.6, 0.8]):
        assert kind_of(lengths[:, None] * torch.tensor(direction)).tolist() == expected
    assert kind_of(torch.tensor([[1.2, 1.2], [-1.0, 1.0]])).tolist() == [
        Kind.LARGER,  # though each part rounds to a pixel
        Kind.ONE_PIXEL,
    ]


def test_convention_probability_sums_to_one(monkeypatch):
    given = []

    def watched(probability):
        given.append(probability)
        return decide(probability)

    monkeypatch.setattr("patchmatch.shift.matcher.decide", watched)
    patches = noise(3, 1, 26, 26)
    ShiftMatcher(width=4).match_patches(patches, noise(3, 1, 26, 26, seed=1))
    assert given[0].sum(dim=1).tolist() == pytest.approx([1] * 3)


def test_convention_unmatched_blocks_have_no_displacement_in_tables():
    found = changes([Kind.LARGER, Kind.LARGER], [1.0, 1.0])
    found = replace(found, matched=torch.tensor([True, False]))
    rows = change_rows(found, torch.tensor([16, 16]))
    assert [row["dx"] for row in rows] == [0, None]
