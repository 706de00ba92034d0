import itertools
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import FolderSequence, natural_key, write_image
from patchmatch.io.frames import fit_file_name, safe_name


def frame(value: int) -> np.ndarray:
    return np.full((5, 7), value, np.uint8)


@pytest.mark.parametrize(
    "names",
    [
        ["frame_2", "frame_10", "frame_100"],
        ["1", "02", "2", "3", "10"],
        ["a", "A1", "a2", "B1", "b10"],
        ["", "1", "a", "a1b2", "a1b10", "a01b11", "a2b1"],
        ["img", "img-1", "img_1", "img_1_9", "img_1_10"],
        ["2024-1-9", "2024-1-10", "2024-02-01"],
        ["x99999999999999999999", "x100000000000000000000"],
        ["Ä1", "ä2", "ä10", "日2", "日10"],
    ],
)
def test_natural_order_compares_digits_as_numbers(names):
    for seed in range(5):
        shuffled = random.Random(seed).sample(names, len(names))
        assert sorted(shuffled, key=natural_key) == names


def test_natural_order_is_total_and_keys_are_unique():
    names = [
        "".join(letters) for letters in itertools.product(["", "a", "A", "0", "1", "²"], repeat=4)
    ]
    keys = {natural_key(name) for name in names}
    assert len(keys) == len(set(names))
    sorted(keys)


def test_images_of_a_folder_are_in_natural_order(tmp_path):
    folder = tmp_path / "ein Ordner é"
    for number in (10, 2, 1):
        write_image(folder / f"frame{number}.png", frame(number))
    write_image(folder / "frame.BMP", frame(0))
    frames = FolderSequence(folder)
    assert frames.name == "ein Ordner é"
    names = [frames.frame_name(i) for i in range(len(frames))]
    assert names == ["frame", "frame1", "frame2", "frame10"]
    assert [frames.read(i)[2, 3] for i in (3, 0, 2, 1)] == [10, 0, 2, 1]


def test_visible_files_that_are_not_images_are_listed_as_ignored(tmp_path):
    write_image(tmp_path / "a.png", frame(1))
    write_image(tmp_path / "sub.png" / "b.png", frame(1))  # a folder named like an image
    for name in ("Thumbs.db", "desktop.ini", ".hidden.png", ".DS_Store", "n10.txt", "n2.txt"):
        (tmp_path / name).write_text("x")
    frames = FolderSequence(tmp_path, "camera")
    assert frames.name == "camera"
    assert len(frames) == 1
    assert frames.ignored == ("n2.txt", "n10.txt")


def test_frame_names_are_unique_if_stems_are_not(tmp_path):
    for name in ("a.png", "A.jpg", "a_png.bmp", "b.png"):
        write_image(tmp_path / name, frame(1))
    frames = FolderSequence(tmp_path)
    names = {path.name: frames.frame_name(i) for i, path in enumerate(frames.paths)}
    assert names == {"A.jpg": "A_jpg", "a.png": "a_png_2", "a_png.bmp": "a_png", "b.png": "b"}


def test_index_out_of_range_raises(tmp_path):
    write_image(tmp_path / "a.png", frame(1))
    frames = FolderSequence(tmp_path, "cam")
    for index in (-1, 1):
        with pytest.raises(IndexError, match=f"cam has frames 0 to 0, got {index}"):
            frames.read(index)
        with pytest.raises(IndexError, match=f"got {index}"):
            frames.frame_name(index)


def test_unreadable_frame_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"broken\.png: cannot be read"):
        FolderSequence(tmp_path).read(0)


def test_missing_frame_raises(tmp_path):
    write_image(tmp_path / "a.png", frame(1))
    frames = FolderSequence(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: no such file"):
        frames.read(0)


def test_folder_that_cannot_be_listed_raises(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="absent: no such folder"):
        FolderSequence(tmp_path / "absent")
    with pytest.raises(InputError, match="file: expected a folder, got a file; give"):
        FolderSequence(tmp_path / "file")

    def iterdir(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\)"):
        FolderSequence(tmp_path)


def test_folder_sequence_can_be_pickled(tmp_path):
    write_image(tmp_path / "a.png", frame(9))
    frames = pickle.loads(pickle.dumps(FolderSequence(tmp_path)))
    np.testing.assert_array_equal(frames.read(0), frame(9))


@pytest.mark.parametrize("letter", ["x", "影", "é", "\udce9"])
def test_a_long_name_is_cut_to_a_part_of_a_file_name_and_stays_unique(letter):
    names = [letter * 150 + end for end in ("_1", "_2" * 60)]
    fitted = [fit_file_name(name) for name in names]
    assert len(set(fitted)) == 2
    for name, short in zip(names, fitted, strict=True):
        assert len(os.fsencode(short)) <= 200
        assert (short == name) is (len(os.fsencode(name)) <= 200)
        assert short[:20] == name[:20]
        assert safe_name(name) == short
