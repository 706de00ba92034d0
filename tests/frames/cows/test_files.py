import csv
import re

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.files import TRUTH_COLUMNS, truth_rows, write_sequence
from patchmatch.frames.cows.sequence import render_sequence

SMALL = {"height": 200, "width": 300}
NEW_FILES = {"frame_0.png", "frame_1.png", "truth.csv", "truth_masks.npz"}


@pytest.fixture(scope="module")
def sequence():
    """Eleven small frames, so that one name has two digits."""
    return render_sequence(frames=11, seed=3, **SMALL)


@pytest.fixture(scope="module")
def written(sequence, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cows")
    write_sequence(sequence, folder)
    return folder


@pytest.fixture(scope="module")
def short():
    return render_sequence(frames=2, **SMALL)


def read_truth(folder):
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cow_outside_the_frame_has_no_row():
    sequence = render_sequence(frames=150, height=192, width=256, seed=2)
    rows = truth_rows(sequence)
    fast = int(np.abs(sequence.velocity).max(axis=1).argmax())
    assert {row[2] for row in rows if row[0] == "frame_0"} == {1, 2}
    assert fast not in {row[2] for row in rows if row[0] == "frame_148"}


def test_still_cow_has_a_row():
    still = render_sequence(frames=2, height=330, width=600)
    standing = [k for k in range(1, len(still.velocity)) if not still.velocity[k].any()]
    assert standing
    assert set(standing) <= {row[2] for row in truth_rows(still)}


def test_names_have_no_zero_padding_and_no_other_files_are_written(written):
    frames = [f"frame_{t}.png" for t in range(11)]
    names = {*frames, "truth.csv", "truth_masks.npz"}
    assert {path.name for path in written.iterdir()} == names


def test_files_contain_the_frames_and_labels(written, sequence):
    for t in (0, 10):
        image = cv2.imread(str(written / f"frame_{t}.png"))
        assert np.array_equal(image[..., ::-1], sequence.frames[t])
    with np.load(written / "truth_masks.npz") as masks:
        assert np.array_equal(masks["labels"], sequence.labels)
        assert np.array_equal(masks["velocity"], sequence.velocity)


def test_boxes_of_the_truth_table_bound_the_visible_pixels(written):
    rows = read_truth(written)
    assert tuple(rows[0]) == TRUTH_COLUMNS
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


def test_folder_with_frames_raises_and_is_unchanged(written, short):
    before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    with pytest.raises(InputError, match=r"already contains rendered frames or ground truth"):
        write_sequence(short, written)
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before


def test_overwrite_removes_all_frames_of_a_longer_sequence(tmp_path, short):
    (tmp_path / "notes.txt").write_text("kept")
    for name in ("frame_0.png", "frame_12.png"):
        (tmp_path / name).write_bytes(b"earlier")
    write_sequence(short, tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {*NEW_FILES, "notes.txt"}
    assert cv2.imread(str(tmp_path / "frame_0.png")).shape == (200, 300, 3)


def test_folder_with_other_images_raises(tmp_path, short):
    (tmp_path / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(InputError, match=r"not rendered, such as holiday\.jpg"):
        write_sequence(short, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_file_instead_of_a_folder_raises(tmp_path, short):
    (tmp_path / "cows").write_text("a file")
    with pytest.raises(InputError, match="is a file; give a folder"):
        write_sequence(short, tmp_path / "cows")


def test_failed_write_keeps_the_earlier_frames(tmp_path, short, monkeypatch):
    write_sequence(short, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr(np, "savez_compressed", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_sequence(short, tmp_path, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
