import cv2
import numpy as np
import pytest
import torch

from patchmatch.data import Clips, Frames
from patchmatch.errors import InputError
from patchmatch.io import find_sequences


def write_frames(folder, count, size=(30, 40), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        picture = np.full((*size, 3), i, np.uint8)
        cv2.imwrite(str(folder / f"frame_{i}.png"), picture)


def clips(folder, pairs=4):
    dataset = Clips(find_sequences(folder).sequences, pairs)
    return [dataset[i] for i in range(len(dataset))]


def pair_names(found):
    return [(c["names"][a], c["names"][b]) for c in found for a, b in c["pairs"]]


@pytest.mark.parametrize("count", [2, 5, 8, 9, 12])
def test_every_consecutive_pair_is_there_once_and_in_natural_order(tmp_path, count):
    write_frames(tmp_path, count)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(count - 1)]
    assert pair_names(clips(tmp_path)) == expected


def test_frames_are_gray_floats_and_pictures_are_untouched(tmp_path):
    write_frames(tmp_path, 3)
    (clip,) = clips(tmp_path)
    assert clip["frames"].shape == (3, 1, 30, 40)
    assert clip["frames"].dtype == torch.float32
    assert clip["frames"][2].max() == pytest.approx(2 / 255)
    assert clip["pictures"][2].shape == (30, 40, 3)
    assert clip["pictures"][2].dtype == np.uint8


@pytest.mark.parametrize("broken", [0, 3, 4, 5, 9])
def test_a_broken_frame_costs_its_own_pairs_only_and_is_told_once(tmp_path, broken):
    write_frames(tmp_path, 10)
    path = tmp_path / f"frame_{broken}.png"
    path.write_bytes(path.read_bytes()[:50])
    found = clips(tmp_path)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(9) if broken not in (i, i + 1)]
    assert pair_names(found) == expected
    notes = [note for clip in found for note in clip["notes"]]
    assert len(notes) == 1
    assert f"frame_{broken}.png" in notes[0]


@pytest.mark.parametrize("odd", [0, 4, 6])
def test_a_frame_of_another_size_never_meets_the_others(tmp_path, odd):
    write_frames(tmp_path, 9)
    write_frames(tmp_path, 1, size=(20, 20), first=odd)
    found = clips(tmp_path)
    for clip in found:
        assert len({p.shape for p in clip["pictures"]}) == 1
    expected = {(f"frame_{i}", f"frame_{i + 1}") for i in range(8) if odd not in (i, i + 1)}
    assert set(pair_names(found)) == expected
    notes = [note for clip in found for note in clip["notes"]]
    assert notes
    assert all("20x20" in note and "40x30" in note for note in notes)


def test_a_clip_without_a_readable_frame_is_empty_and_says_why(tmp_path):
    write_frames(tmp_path, 6)
    for i in range(5):
        (tmp_path / f"frame_{i}.png").write_text("no picture")
    first, second = clips(tmp_path)
    assert first["pairs"] == []
    assert len(first["notes"]) == 5
    assert second["pairs"] == []


def test_sequences_never_mix(tmp_path):
    write_frames(tmp_path / "a", 3)
    write_frames(tmp_path / "b", 2, size=(50, 60))
    found = clips(tmp_path)
    assert [(c["source"], len(c["pairs"])) for c in found] == [("a", 2), ("b", 1)]
    assert all(c["several"] for c in found)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_keep_the_order(tmp_path, workers):
    write_frames(tmp_path, 12)
    data = Frames(str(tmp_path), batch_size=2, num_workers=workers)
    data.setup("predict")
    found = list(data.predict_dataloader())
    assert pair_names(found) == [(f"frame_{i}", f"frame_{i + 1}") for i in range(11)]
    assert all(isinstance(p, np.ndarray) for clip in found for p in clip["pictures"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("batch_size", 0, "batch_size must be at least 1"), ("num_workers", -1, "num_workers must")],
)
def test_impossible_options_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        Frames(**{name: value})


def test_frames_cannot_be_trained_on():
    with pytest.raises(InputError, match="no ground truth"):
        Frames().setup("fit")
