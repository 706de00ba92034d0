"""Which pictures are matched with which."""

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.pairs.data import PicturePairs, find_picture_pairs


@pytest.fixture
def folder(tmp_path):
    """Four pictures in a folder with a space in its name."""
    place = tmp_path / "my pictures"
    place.mkdir()
    for i, name in enumerate(("a_2.png", "a_10.png", "b.png", "c,d.png")):
        picture = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8)
        cv2.imwrite(str(place / name), picture)
    return place


def names(pairs, order="all"):
    found, _ = find_picture_pairs(pairs, order)
    return [tuple(image.name for image in pair.images) for pair in found]


def test_two_pictures_are_a_pair(folder):
    assert names(f"{folder}/b.png,{folder}/a_2.png") == [("b.png", "a_2.png")]
    assert names(f"{folder}/c,d.png, {folder}/b.png") == [("c,d.png", "b.png")]


def test_a_folder_is_paired_all_with_all_or_in_sequence(folder):
    assert len(names(folder)) == 6
    expected = [("a_2.png", "a_10.png"), ("a_10.png", "b.png"), ("b.png", "c,d.png")]
    assert names(folder, "sequential") == expected
    found, _ = find_picture_pairs(folder)
    assert len({pair.name for pair in found}) == 6


def test_a_list_and_a_table_name_their_pictures(folder):
    (folder / "list.txt").write_text("b.png\n\na_2.png\na_10.png\n")
    assert names(folder / "list.txt", "sequential") == [
        ("b.png", "a_2.png"),
        ("a_2.png", "a_10.png"),
    ]
    (folder.parent / "t.csv").write_text("image0,image1\nmy pictures/b.png,my pictures/a_2.png\n")
    assert names(folder.parent / "t.csv") == [("b.png", "a_2.png")]


def test_two_folders_are_paired_side_by_side(folder):
    (folder / "image_1").mkdir()
    (folder / "image_2").mkdir()
    (folder / "a_2.png").rename(folder / "image_1" / "x.png")
    (folder / "b.png").rename(folder / "image_2" / "y.png")
    assert names(folder) == [("x.png", "y.png")]


def test_pictures_come_as_they_are(folder):
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
        ("{}/b.png", "a pair must have two pictures"),
        ("{}/b.png,{}/none.png", "none.png: no such file, but --data.pairs names it"),
        ("{}/bad.txt", "gone.png: no such file"),
        ("{}/one.txt", "a pair must have two pictures, found 1"),
        ("{}/bad.csv", "gone.png: no such file, but pair 1 of"),
        ("{}/image_1", "found 0"),
    ],
)
def test_what_is_missing_is_named(folder, text, message):
    (folder / "bad.txt").write_text("b.png\ngone.png\n")
    (folder / "one.txt").write_text("b.png\n")
    (folder / "bad.csv").write_text("image0,image1\nb.png,gone.png\n")
    (folder / "image_1").mkdir()
    with pytest.raises(InputError, match=message):
        find_picture_pairs(text.replace("{}", str(folder)))


def test_a_missing_half_is_refused(folder):
    (folder / "image_1").mkdir()
    (folder / "b.png").rename(folder / "image_1" / "x.png")
    with pytest.raises(InputError, match="image_2: no such folder"):
        find_picture_pairs(folder)


def test_other_orders_and_verbs_are_refused(folder):
    with pytest.raises(ValueError, match="order must be one of all, sequential"):
        PicturePairs(order="random")
    with pytest.raises(InputError, match="no ground truth"):
        PicturePairs(str(folder)).setup("test")


def test_a_table_tells_the_cameras_of_its_pairs(folder):
    table = folder / "t.csv"
    pictures = "b.png,a_2.png"
    table.write_text(f"image0,image1,intrinsics0\n{pictures},90 80 15 10.5\n")
    (pair,) = find_picture_pairs(table)[0]
    assert pair.intrinsics == ((90, 80, 15, 10.5), (90, 80, 15, 10.5))
    table.write_text(f"image0,image1,intrinsics1,intrinsics0\n{pictures},9 9 1 1,8 7 2 2\n")
    data = PicturePairs(str(table))
    data.setup("predict")
    assert next(iter(data.predict_dataloader()))["intrinsics"] == ((8, 7, 2, 2), (9, 9, 1, 1))
    table.write_text(f"image0,image1,intrinsics1\n{pictures},9 9 1 1\n")
    with pytest.raises(InputError, match="intrinsics1 needs one of intrinsics0 beside it"):
        find_picture_pairs(table)
    for text, message in (("", "got nothing"), ("90,80", "got 90"), ("0 1 2 3", "got 0 1 2 3")):
        table.write_text(f'image0,image1,intrinsics0\n{pictures},"{text}"\n')
        with pytest.raises(
            InputError, match=f"intrinsics0 of pair 1 must be fx fy cx cy.*{message}"
        ):
            find_picture_pairs(table)
