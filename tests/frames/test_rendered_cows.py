import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.sequence import render_sequence
from patchmatch.frames.rendered_cows import RenderedCows
from patchmatch.io import read_image, write_image

SMALL = {"frames": 3, "height": 200, "width": 300, "seed": 4}


def read_clips(data):
    """Prepare and read the data as the Trainer does."""
    data.prepare_data()
    data.setup("predict")
    return list(data.predict_dataloader())


@pytest.fixture
def messages(monkeypatch):
    """Messages to the user."""
    lines = []
    monkeypatch.setattr("patchmatch.frames.rendered_cows.inform", lines.append)
    return lines


def test_missing_folder_is_rendered_and_read(tmp_path, messages):
    folder = tmp_path / "images" / "cows"
    clips = read_clips(RenderedCows(str(folder), batch_size=2, **SMALL))
    assert {p.name for p in folder.iterdir()} == {
        *("frame_0.png", "frame_1.png", "frame_2.png", "truth.csv", "truth_masks.npz")
    }
    assert [(clip["source"], len(clip["pairs"])) for clip in clips] == [("cows", 2)]
    expected = render_sequence(**SMALL).frames
    assert np.array_equal(np.stack(clips[0]["images"]), expected)
    assert messages == [
        f"rendered 3 frames of 300x200 with 2 cows and their ground truth to {folder}"
    ]


def test_gaps_and_max_frames_select_the_pairs(tmp_path, messages):
    options = SMALL | {"frames": 4, "gaps": (2, 1), "max_frames": 3}
    clips = read_clips(RenderedCows(str(tmp_path / "cows"), **options))
    pairs = [(c["names"][a], c["names"][b]) for c in clips for a, b in c["pairs"]]
    assert pairs == [("frame_0", "frame_1"), ("frame_1", "frame_2"), ("frame_0", "frame_2")]


def test_existing_frames_are_used_without_a_message(tmp_path, messages):
    for i in range(2):
        write_image(tmp_path / f"mine_{i}.png", np.full((20, 30), i, np.uint8))
    (clip,) = read_clips(RenderedCows(str(tmp_path), **SMALL))
    assert clip["names"] == ["mine_0", "mine_1"]
    assert len(list(tmp_path.iterdir())) == 2
    assert messages == []


def test_frames_are_rendered_once(tmp_path, messages):
    data = RenderedCows(str(tmp_path), **SMALL)
    read_clips(data)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    read_clips(RenderedCows(str(tmp_path), **{**SMALL, "seed": 9}))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
    assert len(messages) == 1


def test_only_files_other_than_the_ground_truth_cause_a_warning(tmp_path, recwarn):
    data = RenderedCows(str(tmp_path), **SMALL)
    read_clips(data)
    assert [str(w.message) for w in recwarn] == []
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"ignored notes\.txt"):
        data.setup("predict")


@pytest.mark.filterwarnings("ignore:.*ignored notes.txt")
def test_folder_with_other_files_is_rendered(tmp_path):
    (tmp_path / "notes.txt").write_text("kept")
    read_clips(RenderedCows(str(tmp_path), **SMALL))
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert read_image(tmp_path / "frame_2.png").shape == (200, 300, 3)


def test_folder_with_a_single_image_raises(tmp_path):
    write_image(tmp_path / "holiday.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(InputError, match=r"not rendered, such as holiday\.png"):
        RenderedCows(str(tmp_path), **SMALL).prepare_data()
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.png"]


def test_file_instead_of_a_folder_raises(tmp_path):
    (tmp_path / "cows").write_text("a file")
    with pytest.raises(InputError, match="is a file; give a folder"):
        RenderedCows(str(tmp_path / "cows"), **SMALL).prepare_data()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frames", 1, "frames must be at least 2"),
        ("height", 100, "at least 192 pixels high"),
        ("light", 1.0, r"light must be in \[0, 1\)"),
        ("batch_size", 0, "batch_size must be at least 1"),
    ],
)
def test_invalid_options_raise_before_rendering(name, value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RenderedCows(str(tmp_path), **{**SMALL, name: value})
    assert list(tmp_path.iterdir()) == []


def test_rendered_cows_cannot_be_fitted(tmp_path):
    with pytest.raises(InputError, match="no ground truth"):
        RenderedCows(str(tmp_path), **SMALL).setup("fit")
