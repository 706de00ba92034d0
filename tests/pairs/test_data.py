"""Sources of image pairs."""

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.pairs.data import PicturePairs, find_image_pairs


@pytest.fixture
def folder(tmp_path):
    """Four images in a folder with a space in its name."""
    folder = tmp_path / "my images"
    folder.mkdir()
    for i, name in enumerate(("a_2.png", "a_10.png", "b.png", "c,d.png")):
        image = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8)
        cv2.imwrite(str(folder / name), image)
    return folder


def names(pairs, order="all"):
    found, _ = find_image_pairs(pairs, order)
    return [tuple(image.name for image in pair.images) for pair in found]


def test_two_files_are_a_pair(folder):
    assert names(f"{folder}/b.png,{folder}/a_2.png") == [("b.png", "a_2.png")]
    assert names(f"{folder}/c,d.png, {folder}/b.png") == [("c,d.png", "b.png")]


def test_images_of_a_folder_are_paired_all_with_all_or_in_sequence(folder):
    assert len(names(folder)) == 6
    expected = [("a_2.png", "a_10.png"), ("a_10.png", "b.png"), ("b.png", "c,d.png")]
    assert names(folder, "sequential") == expected
    found, _ = find_image_pairs(folder)
    assert len({pair.name for pair in found}) == 6


def test_list_and_table_give_paths_relative_to_them(folder):
    (folder / "list.txt").write_text("b.png\n\na_2.png\na_10.png\n")
    assert names(folder / "list.txt", "sequential") == [
        ("b.png", "a_2.png"),
        ("a_2.png", "a_10.png"),
    ]
    (folder.parent / "t.csv").write_text("image0,image1\nmy images/b.png,my images/a_2.png\n")
    assert names(folder.parent / "t.csv") == [("b.png", "a_2.png")]


@pytest.mark.parametrize("gap", [" ", "\t", "  ", ",", "; "])
def test_list_with_two_images_per_line_gives_these_pairs(folder, gap):
    (folder / "c,d.png").rename(folder / "c d,e.png")
    lines = [f"b.png{gap}a_2.png", "", f"c d,e.png{gap}b.png", f"a_10.png{gap}c d,e.png"]
    (folder / "pairs.txt").write_text("\ufeff" + "\r\n".join([*lines, lines[0]]), "utf-8")
    expected = [("b.png", "a_2.png"), ("c d,e.png", "b.png"), ("a_10.png", "c d,e.png")]
    assert names(folder / "pairs.txt") == [*expected, expected[0]]
    found, _ = find_image_pairs(folder / "pairs.txt")
    assert [pair.name for pair in found[::3]] == ["b-a_2", "b-a_2_2"]


def test_list_of_single_images_may_contain_blanks(folder):
    (folder / "c,d.png").rename(folder / "c d.png")
    (folder / "list.txt").write_text("c d.png\nb.png\n")
    assert names(folder / "list.txt") == [("c d.png", "b.png")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "b.png a_2.png\nb.png\n",
            "only some lines name two; .*remove the line of b.png",
        ),
        ("b.png none.png\n", "none.png: no such file, but .*pairs.txt names it"),
        ("none.png b.png\n", "none.png: no such file"),
        ("no ne\n", "no ne: no such file"),
        ("b.png " + "0 " * 500, "0 0: no such file"),
        ("b.png a_2.png 3\n", "a_2.png 3: no such file"),
    ],
)
def test_wrong_line_of_a_list_is_named(folder, text, message):
    (folder / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        find_image_pairs(folder / "pairs.txt")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_table_may_have_semicolons_or_tabs(folder, delimiter):
    table = folder / ("t.tsv" if delimiter == "\t" else "t.csv")
    rows = [("image0", "image1", "intrinsics0"), ("c,d.png", "b.png", "90 80 15 10.5")]
    table.write_text("\r\n".join(delimiter.join(row) for row in rows))
    assert names(table) == [("c,d.png", "b.png")]
    assert find_image_pairs(table)[0][0].intrinsics[0] == (90, 80, 15, 10.5)
    (folder / "pairs.csv").write_text(table.read_text())
    assert names(folder) == [("c,d.png", "b.png")]


def test_two_folders_are_paired_in_order(folder):
    (folder / "image_1").mkdir()
    (folder / "image_2").mkdir()
    (folder / "a_2.png").rename(folder / "image_1" / "x.png")
    (folder / "b.png").rename(folder / "image_2" / "y.png")
    assert names(folder) == [("x.png", "y.png")]


def test_images_keep_their_size(folder):
    data = PicturePairs(f"{folder}/a_2.png,{folder}/b.png")
    data.setup("predict")
    (pair,) = list(data.predict_dataloader())
    assert pair["image1"].shape == (1, 3, 22, 30)
    assert pair["sizes"] == ((20, 30), (22, 30))
    assert pair["name"] == "a_2-b"
    assert pair["notes"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}/none", "no such file or folder"),
        ("{}/b.png", "a pair must have two images"),
        ("{}/b.png,{}/none.png", "none.png: no such file, but --data.pairs names it"),
        ("{}/bad.txt", "missing.png: no such file"),
        ("{}/one.txt", "a pair must have two images, got 1"),
        ("{}/bad.csv", "missing.png: no such file, but pair 1 of"),
        ("{}/image_1", "got 0"),
    ],
)
def test_missing_file_is_named_in_the_error(folder, text, message):
    (folder / "bad.txt").write_text("b.png\nmissing.png\n")
    (folder / "one.txt").write_text("b.png\n")
    (folder / "bad.csv").write_text("image0,image1\nb.png,missing.png\n")
    (folder / "image_1").mkdir()
    with pytest.raises(InputError, match=message):
        find_image_pairs(text.replace("{}", str(folder)))


def test_missing_folder_raises(folder):
    (folder / "image_1").mkdir()
    (folder / "b.png").rename(folder / "image_1" / "x.png")
    with pytest.raises(InputError, match="image_2: no such folder"):
        find_image_pairs(folder)


def test_unknown_order_and_other_stages_raise(folder):
    with pytest.raises(ValueError, match="order must be one of all, sequential"):
        PicturePairs(order="random")
    with pytest.raises(InputError, match="no ground truth"):
        PicturePairs(str(folder)).setup("test")


def test_table_gives_intrinsics(folder):
    table = folder / "t.csv"
    images = "b.png,a_2.png"
    table.write_text(f"image0,image1,intrinsics0\n{images},90 80 15 10.5\n")
    (pair,) = find_image_pairs(table)[0]
    assert pair.intrinsics == ((90, 80, 15, 10.5), (90, 80, 15, 10.5))
    table.write_text(f"image0,image1,intrinsics1,intrinsics0\n{images},9 9 1 1,8 7 2 2\n")
    data = PicturePairs(str(table))
    data.setup("predict")
    assert next(iter(data.predict_dataloader()))["intrinsics"] == ((8, 7, 2, 2), (9, 9, 1, 1))
    table.write_text(f"image0,image1,intrinsics1\n{images},9 9 1 1\n")
    with pytest.raises(InputError, match="has a column intrinsics1 but no intrinsics0"):
        find_image_pairs(table)
    for text, message in (("", "got nothing"), ("90,80", "got 90"), ("0 1 2 3", "got 0 1 2 3")):
        table.write_text(f'image0,image1,intrinsics0\n{images},"{text}"\n')
        with pytest.raises(
            InputError, match=f"intrinsics0 of pair 1 must be fx fy cx cy.*{message}"
        ):
            find_image_pairs(table)
