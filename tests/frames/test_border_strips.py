"""Strips at the right and bottom border that no whole block covers are measured as well."""

import numpy as np
import pytest
import torch
from program_runs import QUIET, rows
from textures import texture

from patchmatch import load_motion_matcher, load_shift_matcher, measure_motion
from patchmatch.cli import main
from patchmatch.frames.exports import block_flow
from patchmatch.frames.masks import Masks
from patchmatch.frames.results import Kind
from patchmatch.io import write_image

HEIGHT, WIDTH = 100, 149  # 32 x 3 + 4 and 32 x 4 + 21; 26 + 13 x 5 + 9 and 26 + 13 x 9 + 6


@pytest.fixture(scope="module")
def matchers():
    return {
        "shift": load_shift_matcher(device="cpu").matcher.eval(),
        "motion": load_motion_matcher(device="cpu").matcher.eval(),
    }


def clip(frames):
    gray = [torch.from_numpy(f).float().mean(dim=2)[None] / 255 for f in frames]
    return {
        "index": 0,
        "source": "walk",
        "several": False,
        "frames": gray,
        "images": frames,
        "names": ["0", "1"],
        "times": [None, None],
        "pairs": [(0, 1)],
        "notes": [],
    }


def moved_corner(step):
    """Two frames in which only the bottom right corner moves, to the left."""
    canvas = texture(HEIGHT, WIDTH + step, seed=3)
    first, second = canvas[:, :WIDTH].copy(), canvas[:, :WIDTH].copy()
    second[-40:, -40:] = canvas[-40:, WIDTH + step - 40 : WIDTH + step]
    return [first, second]


@torch.inference_mode()
def changes_of(matcher, frames):
    (changes,) = matcher.predict_step(clip(frames), 0)
    return changes


@pytest.mark.parametrize("name", ["shift", "motion"])
def test_blocks_cover_the_frame_and_every_output_takes_them(matchers, name):
    changes = changes_of(matchers[name], [texture(HEIGHT, WIDTH)] * 2)
    covered = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in changes.boxes.tolist():
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    assert len(changes) == len(changes.kind) == len(changes.score) == len(changes.confidence)
    assert (changes.kind == Kind.STILL).all()
    _, valid = block_flow(changes, HEIGHT, WIDTH)
    assert valid.all()
    mask = Masks(valid=np.pad(np.ones((4, 4), bool), ((HEIGHT - 4, 0), (WIDTH - 4, 0))))
    assert mask.contains(changes.boxes).shape == (len(changes),)


@pytest.mark.parametrize("name", ["shift", "motion"])
def test_change_in_the_corner_is_found_where_it_is(matchers, name):
    changes = changes_of(matchers[name], moved_corner(1 if name == "shift" else 4))
    changed = changes.top(20)
    assert len(changed)
    corner = (changed.boxes[:, 2] == WIDTH) & (changed.boxes[:, 3] == HEIGHT)
    assert corner.any()
    assert (changed.boxes[:, 2:] > torch.tensor([WIDTH - 41, HEIGHT - 41])).all()
    dx, dy = changes.displacement[-1].tolist()  # the last block
    assert (dx, dy) == pytest.approx((-1, 0) if name == "shift" else (-4, 0), abs=0.3)
    assert changed.boxes[:, 2:].amax(dim=0).tolist() == [WIDTH, HEIGHT]


@pytest.mark.parametrize("name", ["shift", "motion"])
def test_border_block_is_matched_like_any_other(matchers, name):
    """A block at the border finds the motion that the same block finds in a larger frame."""
    step = 1 if name == "shift" else 3
    canvas = texture(HEIGHT, WIDTH + step, seed=5)
    frames = [canvas[:, :WIDTH], canvas[:, step:]]
    changes = changes_of(matchers[name], frames)
    border = (changes.boxes[:, 2] == WIDTH) | (changes.boxes[:, 3] == HEIGHT)
    assert border.sum() > 5
    error = (changes.displacement[border] - torch.tensor([-float(step), 0.0])).norm(dim=1)
    assert (error < 0.3).float().mean() > 0.9


def test_measure_motion_returns_the_whole_blocks_of_the_regular_grid():
    canvas = texture(HEIGHT, WIDTH + 3, seed=5)
    motion = measure_motion(canvas[:, :WIDTH], canvas[:, 3:])
    assert motion.shape == (HEIGHT // 32, WIDTH // 32, 2)
    assert (motion - torch.tensor([-3.0, 0.0])).norm(dim=-1).max() < 0.3


@pytest.mark.parametrize("config", ["patch_match", "motion"])
def test_tables_drawings_and_report_contain_the_border(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    for i, frame in enumerate(moved_corner(1 if config == "patch_match" else 4)):
        write_image(tmp_path / "in" / f"{i}.png", frame)
    options = ["--data.predict_dir=in", "--writer.output_path=out", "--writer.report=true", *QUIET]
    options += ["--writer.max_overlap=1", "--writer.top_k=1000"]  # draw every block
    main(["predict", "-c", config, *options, "--writer.formats=[flo,npz]"])
    found = rows(tmp_path / "out" / "changes.csv")
    assert any((row["x1"], row["y1"]) == (str(WIDTH), str(HEIGHT)) for row in found)
    with np.load(tmp_path / "out" / "fields" / "1.npz") as arrays:
        assert arrays["boxes"].max(axis=0)[2:].tolist() == [WIDTH, HEIGHT]
