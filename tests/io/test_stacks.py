"""Sequences of the pages or animation frames of one image file."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from patchmatch.core.errors import InputError
from patchmatch.io import find_sequences, read_image, write_image
from patchmatch.io.stacks import ImageStack

LEVELS = [0, 60, 120, 180]


def save_stack(path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(np.full((5, 7, 3), v, np.uint8)) for v in LEVELS)
    first.save(path, save_all=True, append_images=others, **options)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".webp", ".png"])
def test_stack_given_as_source_is_a_sequence(tmp_path, suffix):
    path = save_stack(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    (stack,) = find_sequences(path).sequences
    assert (stack.name, len(stack), stack.frame_name(3)) == ("a", 4, "000003")
    stack = pickle.loads(pickle.dumps(stack))
    for index in (0, 1, 2, 3, 1):
        assert stack.read(index).shape[:2] == (5, 7)
        assert np.all(stack.read(index) == LEVELS[index])
    stack.close()
    assert np.all(stack.read(2) == LEVELS[2])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_sixteen_bits_of_a_stack_are_kept(tmp_path, shape):
    path = tmp_path / "a.tif"
    pages = [np.full(shape, value, np.uint16) for value in (300, 40_001)]
    assert cv2.imwritemulti(str(path), pages)
    (stack,) = find_sequences(path).sequences
    assert [stack.read(i).dtype for i in (0, 1)] == [np.uint16] * 2
    assert [stack.read(i).max() for i in (0, 1)] == [300, 40_001]


def test_folder_of_stacks_has_a_sequence_of_each(tmp_path):
    for name in ("a.tif", "b.gif"):
        save_stack(tmp_path / name)
    found = find_sequences(tmp_path)
    assert [(s.name, len(s)) for s in found.sequences] == [("a", 4), ("b", 4)]


def test_stack_among_single_images_is_noted(tmp_path):
    save_stack(tmp_path / "b.tif")
    write_image(tmp_path / "a.tif", np.zeros((5, 7), np.uint8))
    found = find_sequences(tmp_path)
    assert [len(s) for s in found.sequences] == [2]
    assert found.notes == (
        f"{tmp_path}: only the first page is read of b.tif; give such a file as source",
    )


def test_thumbnails_in_a_tiff_are_not_pages(tmp_path):
    first, thumbnail, last = (Image.new("L", (side, 8), side) for side in (8, 4, 8))
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[thumbnail, last])
    (stack,) = find_sequences(tmp_path / "a.tif").sequences
    assert [stack.read(i).shape for i in range(len(stack))] == [(8, 8), (8, 8)]


def test_damaged_page_raises_and_is_named(tmp_path):
    path = save_stack(tmp_path / "a.gif")
    stack = ImageStack(path)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InputError, match=r"a\.gif: page 3 cannot be read"):
        stack.read(3)


@pytest.mark.parametrize("name", ["a.pgm", "a.ppm", "a.pbm", "a.jfif", "a.gif", "a.pnm", "a.dib"])
def test_further_formats_are_frames(tmp_path, name):
    formats = {".jfif": "JPEG", ".gif": "GIF", ".dib": "BMP"}
    mode = "1" if name == "a.pbm" else "L" if name in ("a.pgm", "a.gif") else "RGB"
    for stem in ("a", "b"):
        path = (tmp_path / name).with_stem(stem)
        Image.new(mode, (7, 5), 1).save(path, formats.get(path.suffix, "PPM"))
    (tmp_path / f"._{name}").write_bytes(b"x")
    (sequence,) = find_sequences(tmp_path).sequences
    assert len(sequence) == 2
    assert sequence.read(0).shape[:2] == (5, 7)


def test_sixteen_bit_pgm_is_read(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([300, 40_001], ">u2").tobytes())
    np.testing.assert_array_equal(read_image(path), np.array([[300, 40_001]], np.uint16))
