import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "dev" / "render_frames.py"


def load_script():
    """Import ``dev/render_frames.py``; dev is no package."""
    spec = importlib.util.spec_from_file_location("render_frames", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


render_frames = load_script()
SMALL = {"height": 200, "width": 300}
SMALL_FLAGS = ["--frames", "2", "--height", "200", "--width", "300"]


@pytest.fixture(scope="module")
def clean():
    """A sequence without noise and with constant light, wide enough for four kinds of speed."""
    return render_frames.render_sequence(frames=4, height=330, width=600, seed=5, noise=0, light=0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Eleven small frames written by the command line: with ten, no name has two digits."""
    folder = tmp_path_factory.mktemp("cows")
    flags = ["--frames", "11", "--height", "200", "--width", "300", "--seed", "3"]
    assert render_frames.main(["--output", str(folder), *flags]) == 0
    return folder


def read_truth(folder):
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refusal(arguments, capsys):
    """Run the command line, expect a refusal, and return its only line."""
    with pytest.raises(SystemExit) as stop:
        render_frames.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


# --- the sequence ------------------------------------------------------------------------------


def test_same_seed_gives_same_frames():
    first = render_frames.render_sequence(frames=2, seed=3, **SMALL)
    second = render_frames.render_sequence(frames=2, seed=3, **SMALL)
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.labels, second.labels)


def test_another_seed_gives_other_cows_and_another_pasture():
    first = render_frames.render_sequence(frames=2, seed=3, noise=0, **SMALL)
    second = render_frames.render_sequence(frames=2, seed=4, noise=0, **SMALL)
    assert not np.array_equal(first.labels, second.labels)
    ground = (first.labels[0] == 0) & (second.labels[0] == 0)
    assert (first.frames[0] != second.frames[0])[ground].mean() > 0.5


def test_shapes_and_types_are_those_of_the_contract(clean):
    assert clean.frames.shape == (4, 330, 600, 3)
    assert clean.frames.dtype == np.uint8
    assert clean.labels.shape == (4, 330, 600)
    assert clean.labels.dtype == np.uint8
    assert clean.velocity.tolist()[0] == [0, 0]
    present = set(np.unique(clean.labels).tolist()) - {render_frames.UNDECIDED}
    assert present == set(range(len(clean.velocity)))


def test_default_size_has_cows_of_every_speed_inside_the_picture():
    herd = render_frames.place_herd(12, 576, 768, seed=0, pond=np.zeros((576, 768), bool))
    velocities = [tuple(place.velocity.tolist()) for place in herd]
    assert {max(abs(dx), abs(dy)) for dx, dy in velocities} == {0, 1, 2, 3, 5}
    assert (1, 1) in velocities
    ways = np.array([place.way for place in herd])
    assert (ways[:, :2] >= 0).all()
    assert (ways[:, 2:] <= (768, 576)).all()


def test_number_of_cows_grows_with_the_area():
    counts = [
        len(
            render_frames.place_herd(2, height, width, seed=0, pond=np.zeros((height, width), bool))
        )
        for height, width in ((192, 256), (384, 512), (576, 768))
    ]
    assert counts == [2, 4, 9]


def test_background_never_moves(clean):
    for t in range(3):
        ground = (clean.labels[t] == 0) & (clean.labels[t + 1] == 0)
        assert ground.mean() > 0.5
        assert np.array_equal(clean.frames[t][ground], clean.frames[t + 1][ground])


def test_every_cow_moves_by_exactly_its_velocity(clean):
    for k, (dx, dy) in enumerate(clean.velocity.tolist()):
        if k == 0:
            continue
        y0, x0 = np.nonzero(clean.labels[0] == k)
        y1, x1 = y0 + dy, x0 + dx
        seen = (x1 >= 0) & (x1 < 600) & (y1 >= 0) & (y1 < 330)
        y0, x0, y1, x1 = y0[seen], x0[seen], y1[seen], x1[seen]
        both = clean.labels[1][y1, x1] == k
        assert both.sum() > 3000, f"cow {k} is hardly visible"
        here, there = clean.frames[0][y0, x0][both], clean.frames[1][y1, x1][both]
        assert np.array_equal(here, there), f"cow {k}"
        if dx or dy:
            stayed = clean.frames[1][y0, x0][both]
            assert (here != stayed).any(axis=1).mean() > 0.7, f"cow {k} has no texture"
    assert {0, 1, 2, 3} == set(np.abs(clean.velocity).max(axis=1).tolist())


def test_masks_move_with_the_cows_too(clean):
    rows = [row for row in render_frames.truth_rows(clean) if row[0] == "frame_0"]
    for _, _, k, *_, dx, dy in rows:
        y0, x0 = np.nonzero(clean.labels[0] == k)
        there = clean.labels[1][(y0 + dy).clip(0, 329), (x0 + dx).clip(0, 599)]
        assert (there == k).mean() > 0.9


def test_cows_are_still_there_in_the_twelfth_frame():
    last = render_frames.render_sequence(frames=12, seed=1, **SMALL).labels[11]
    for k in (1, 2):
        assert (last == k).sum() > 1500


def test_cow_that_has_left_the_picture_has_no_row():
    sequence = render_frames.render_sequence(frames=150, height=192, width=256, seed=2)
    rows = render_frames.truth_rows(sequence)
    fast = int(np.abs(sequence.velocity).max(axis=1).argmax())
    assert {row[2] for row in rows if row[0] == "frame_0"} == {1, 2}
    assert fast not in {row[2] for row in rows if row[0] == "frame_148"}


def test_noise_has_the_deviation_asked_for():
    options = {"frames": 2, "seed": 0, "light": 0, **SMALL}
    quiet = render_frames.render_sequence(noise=0, **options).frames.astype(float)
    noisy = render_frames.render_sequence(noise=3, **options).frames.astype(float)
    inner = (quiet > 30) & (quiet < 225)  # where nothing is clipped
    grain = noisy - quiet
    assert grain[inner].std() == pytest.approx(3, abs=0.1)
    in_both = inner[0] & inner[1]
    assert abs(np.corrcoef(grain[0][in_both], grain[1][in_both])[0, 1]) < 0.02


def test_light_rises_and_falls_by_the_part_asked_for():
    options = {"frames": 12, "seed": 0, "noise": 0, **SMALL}
    constant = render_frames.render_sequence(light=0, **options).frames.astype(float)
    varied = render_frames.render_sequence(light=0.1, **options).frames.astype(float)
    inner = (constant > 60) & (constant < 220)
    gains = [(varied[t][inner[t]] / constant[t][inner[t]]).mean() for t in range(12)]
    assert max(gains) == pytest.approx(1.1, abs=0.006)
    assert min(gains) == pytest.approx(0.9, abs=0.006)
    assert np.abs(np.diff(gains)).max() < 0.06


# --- the truth of blocks -----------------------------------------------------------------------

VELOCITY = np.array([[0, 0], [1, 0], [-3, 0], [0, 0], [-1, -1], [0, 2]])


def label_row(*parts):
    """Return labels (10, 20 per part): ``(label, columns)`` pairs fill each part from the left."""
    labels = np.zeros((10, 20 * len(parts)), np.uint8)
    for i, (label, columns) in enumerate(parts):
        labels[:, 20 * i : 20 * i + columns] = label
    return labels


def boxes_of(count):
    return [(20 * i, 0, 20 * i + 20, 10) for i in range(count)]


def test_blocks_of_one_motion_have_its_kind():
    labels = label_row((0, 20), (1, 20), (2, 20), (3, 20), (4, 20), (5, 20))
    kinds = render_frames.block_truth(labels, labels, VELOCITY, boxes_of(6))
    assert kinds.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.issubdtype(kinds.dtype, np.integer)


def test_four_fifths_of_a_block_decide_and_less_do_not():
    labels = label_row((1, 16), (1, 15), (2, 16), (2, 4), (2, 5))
    kinds = render_frames.block_truth(labels, labels, VELOCITY, boxes_of(5))
    assert kinds.tolist() == [1, -1, 2, 0, -1]


def test_still_share_makes_blocks_ambiguous_into_which_a_cow_reaches():
    labels = label_row((2, 4), (2, 1), (2, 16), (3, 4))
    kinds = render_frames.block_truth(labels, labels, VELOCITY, boxes_of(4), still_share=0.95)
    assert kinds.tolist() == [-1, 0, 2, 0]


def test_both_frames_must_agree_on_a_block():
    labels0, labels1 = label_row((1, 20), (0, 20)), label_row((1, 10), (2, 6))
    kinds = render_frames.block_truth(labels0, labels1, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [-1, -1]


def test_two_cows_of_one_velocity_are_one_motion():
    labels = label_row((3, 10))  # a cow that stands, on ground that stands
    assert render_frames.block_truth(labels, labels, VELOCITY, boxes_of(1)).tolist() == [0]
    velocity = np.array([[0, 0], [1, 0], [1, 0]])
    labels = label_row((1, 10))
    labels[:, 10:] = 2
    assert render_frames.block_truth(labels, labels, velocity, boxes_of(1)).tolist() == [1]


def test_a_shadow_leaves_the_ground_still_but_a_cow_undecided():
    shadow = render_frames.UNDECIDED
    labels = label_row((shadow, 12), (shadow, 12))
    labels[:, 32:] = 1  # 8 of 20 columns: a cow beside its shadow
    kinds = render_frames.block_truth(labels, labels, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [0, -1]


def test_block_truth_agrees_with_counting_pixel_by_pixel(clean):
    labels0, labels1, velocity = clean.labels[0], clean.labels[1], clean.velocity
    boxes = [(x, y, x + 26, y + 18) for y in range(3, 300, 23) for x in range(1, 570, 31)]
    expected = []
    for x0, y0, x1, y1 in boxes:
        shares = {}
        for i, labels in enumerate((labels0, labels1)):
            for label in labels[y0:y1, x0:x1].ravel().tolist():
                key = "none" if label == render_frames.UNDECIDED else tuple(velocity[label])
                shares.setdefault(key, [0, 0])[i] += 1 / (26 * 18)
        moving = [v for key, v in shares.items() if key != "none" and any(key)]
        kind = 0 if np.sum(moving, axis=0).max(initial=0) < 0.05 else -1
        for key, share in shares.items():
            if key != "none" and min(share) >= 0.8:
                kind = min(max(abs(key[0]), abs(key[1])), 2)
        expected.append(int(kind))
    assert set(expected) == {-1, 0, 1, 2}
    assert render_frames.block_truth(labels0, labels1, velocity, boxes).tolist() == expected


def test_no_boxes_give_no_kinds():
    labels = label_row((1, 20))
    kinds = render_frames.block_truth(labels, labels, VELOCITY, np.zeros((0, 4), int))
    assert kinds.shape == (0,)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, 5, 11), (5, 0, 5, 5)])
def test_box_outside_of_the_image_is_refused(box):
    labels = label_row((1, 20))
    with pytest.raises(ValueError, match=r"inside the 10x20 image, got \[.*clip them"):
        render_frames.block_truth(labels, labels, VELOCITY, [(0, 0, 5, 5), box])


def test_labels_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        render_frames.block_truth(label_row((1, 2)), label_row((1, 2), (1, 2)), VELOCITY, [])


# --- files and command line --------------------------------------------------------------------


def test_names_are_natural_and_nothing_else_is_written(written):
    frames = [f"frame_{t}.png" for t in range(11)]
    assert {path.name for path in written.iterdir()} == {
        *frames,
        "truth.csv",
        "truth_masks.npz",
    }


def test_pictures_on_disk_are_the_frames(written):
    sequence = render_frames.render_sequence(frames=11, seed=3, **SMALL)
    for t in (0, 10):
        picture = cv2.imread(str(written / f"frame_{t}.png"))
        assert np.array_equal(picture[..., ::-1], sequence.frames[t])
    with np.load(written / "truth_masks.npz") as masks:
        assert np.array_equal(masks["labels"], sequence.labels)
        assert np.array_equal(masks["velocity"], sequence.velocity)


def test_truth_table_boxes_hold_exactly_what_is_visible(written):
    rows = read_truth(written)
    assert tuple(rows[0]) == render_frames.TRUTH_COLUMNS
    with np.load(written / "truth_masks.npz") as masks:
        labels, velocity = masks["labels"], masks["velocity"]
    assert len(rows) == 10 * (len(velocity) - 1)
    for row in rows:
        t, k = int(re.fullmatch(r"frame_(\d+)", row["frame0"]).group(1)), int(row["object"])
        assert row["frame1"] == f"frame_{t + 1}"
        y, x = np.nonzero(labels[t] == k)
        box = [int(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert [int(row["dx"]), int(row["dy"])] == velocity[k].tolist()


def test_cow_that_stands_is_listed(clean):
    standing = [k for k in range(1, len(clean.velocity)) if not clean.velocity[k].any()]
    assert standing
    assert set(standing) <= {row[2] for row in render_frames.truth_rows(clean)}


def test_same_seed_writes_the_same_bytes_in_another_process(tmp_path):
    arguments = [*SMALL_FLAGS, "--seed", "7", "--output"]
    command = [sys.executable, str(SCRIPT), *arguments, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"Wrote 2 frames of 300x200 with 2 cows .*\n", done.stdout)
    assert done.stderr == ""
    render_frames.main([*arguments, str(tmp_path / "b")])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_folder_with_frames_is_refused_and_left_as_it_was(written, capsys):
    before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    line = refusal(["--output", written, *SMALL_FLAGS], capsys)
    assert "already holds frames; give --overwrite" in line
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before


def test_overwrite_leaves_no_frame_of_the_longer_sequence(tmp_path):
    (tmp_path / "notes.txt").write_text("kept")
    for name in ("frame_0.png", "frame_12.png"):
        (tmp_path / name).write_bytes(b"earlier")
    assert render_frames.main(["--output", str(tmp_path), "--overwrite", *SMALL_FLAGS]) == 0
    names = {"frame_0.png", "frame_1.png", "truth.csv", "truth_masks.npz", "notes.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert cv2.imread(str(tmp_path / "frame_0.png")).shape == (200, 300, 3)


def test_pictures_of_another_origin_are_never_mixed_with_ours(tmp_path, capsys):
    (tmp_path / "holiday.jpg").write_bytes(b"dear")
    line = refusal(["--output", tmp_path, "--overwrite", *SMALL_FLAGS], capsys)
    assert "holiday.jpg" in line
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "1"], "frames must be at least 2"),
        (["--height", "100"], "at least 192 pixels high and 256 wide.*100x768"),
        (["--width", "200"], "576x200; enlarge"),
        (["--seed", "-1"], "seed must be 0 or more"),
        (["--noise", "-2"], "noise must be between 0 and 255"),
        (["--noise", "nan"], "noise must be between 0 and 255"),
        (["--light", "1"], "light must be at least 0 and below 1"),
        (["--frames", "many"], "invalid int value"),
        (["--speed", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_values_end_in_one_line_and_write_nothing(flags, message, tmp_path, capsys):
    line = refusal(["--output", tmp_path / "cows", *flags], capsys)
    assert re.search(message, line)
    assert not (tmp_path / "cows").exists()


def test_output_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "cows").write_text("a file")
    assert "is a file" in refusal(["--output", tmp_path / "cows", *SMALL_FLAGS], capsys)
