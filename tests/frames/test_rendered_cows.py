import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.sequence import render_sequence
from patchmatch.frames.rendered_cows import RenderedCows
from patchmatch.io import read_image, write_image

SMALL = {"frames": 3, "height": 200, "width": 300, "seed": 4}


def predicted(data):
    """Prepare and read the data as the Trainer does."""
    data.prepare_data()
    data.setup("predict")
    return list(data.predict_dataloader())


@pytest.fixture
def said(monkeypatch):
    """What was told to the user."""
    lines = []
    monkeypatch.setattr("patchmatch.frames.rendered_cows.rank_zero_info", lines.append)
    return lines


def test_an_empty_place_is_filled_and_read(tmp_path, said):
    folder = tmp_path / "images" / "cows"
    clips = predicted(RenderedCows(str(folder), batch_size=2, **SMALL))
    assert {p.name for p in folder.iterdir()} == {
        *("frame_0.png", "frame_1.png", "frame_2.png", "truth.csv", "truth_masks.npz")
    }
    assert [(clip["source"], len(clip["pairs"])) for clip in clips] == [("cows", 2)]
    expected = render_sequence(**SMALL).frames
    assert np.array_equal(np.stack(clips[0]["images"]), expected)
    assert said == [f"rendered 3 frames of 300x200 with 2 cows and their truth to {folder}"]


def test_pairs_at_several_gaps_of_the_first_frames(tmp_path, said):
    options = SMALL | {"frames": 4, "gaps": (2, 1), "max_frames": 3}
    clips = predicted(RenderedCows(str(tmp_path / "cows"), **options))
    pairs = [(c["names"][a], c["names"][b]) for c in clips for a, b in c["pairs"]]
    assert pairs == [("frame_0", "frame_1"), ("frame_1", "frame_2"), ("frame_0", "frame_2")]


def test_frames_that_are_there_are_used_and_nothing_is_said(tmp_path, said):
    pictures = [np.full((20, 30), i, np.uint8) for i in range(2)]
    for i, picture in enumerate(pictures):
        write_image(tmp_path / f"mine_{i}.png", picture)
    (clip,) = predicted(RenderedCows(str(tmp_path), **SMALL))
    assert clip["names"] == ["mine_0", "mine_1"]
    assert len(list(tmp_path.iterdir())) == 2
    assert said == []


def test_frames_are_rendered_once(tmp_path, said):
    data = RenderedCows(str(tmp_path), **SMALL)
    predicted(data)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    predicted(RenderedCows(str(tmp_path), **{**SMALL, "seed": 9}))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
    assert len(said) == 1


def test_truth_beside_the_frames_is_no_warning_but_other_files_are(tmp_path, recwarn):
    data = RenderedCows(str(tmp_path), **SMALL)
    predicted(data)
    assert [str(w.message) for w in recwarn] == []
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"ignored notes\.txt"):
        data.setup("predict")


@pytest.mark.filterwarnings("ignore:.*ignored notes.txt")
def test_a_folder_with_other_things_is_filled(tmp_path):
    (tmp_path / "notes.txt").write_text("kept")
    predicted(RenderedCows(str(tmp_path), **SMALL))
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert read_image(tmp_path / "frame_2.png").shape == (200, 300, 3)


def test_a_single_picture_is_never_mixed_with_cows(tmp_path):
    write_image(tmp_path / "holiday.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(InputError, match=r"another origin, such as holiday\.png"):
        RenderedCows(str(tmp_path), **SMALL).prepare_data()
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.png"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "cows").write_text("a file")
    with pytest.raises(InputError, match="is a file; give a folder"):
        RenderedCows(str(tmp_path / "cows"), **SMALL).prepare_data()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frames", 1, "frames must be at least 2"),
        ("height", 100, "at least 192 pixels high"),
        ("light", 1.0, "below 1"),
        ("batch_size", 0, "batch_size must be at least 1"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_drawn(name, value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RenderedCows(str(tmp_path), **{**SMALL, name: value})
    assert list(tmp_path.iterdir()) == []


def test_cows_cannot_be_trained_on(tmp_path):
    with pytest.raises(InputError, match="no ground truth"):
        RenderedCows(str(tmp_path), **SMALL).setup("fit")
