import cv2
import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePairs, ImagePairSet
from patchmatch.core.pair_files import find_pairs


def picture(height=20, width=30, seed=0, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three pairs; the pictures of a pair differ in size."""
    for i, name in enumerate(("pic_2.png", "pic_10.png", "a b.png")):
        write(tmp_path / "image_1" / name, picture(20 + i, 30, seed=i))
        write(tmp_path / "image_2" / name, picture(18, 25 + i, seed=i + 10))
    return tmp_path


def read(base_dir, index=0, **options):
    data = ImagePairs(str(base_dir), **options)
    data.setup("predict")
    assert data.dataset is not None
    return data.dataset[index]


def test_pictures_are_paired_in_natural_order(folder):
    found, notes = find_pairs(folder)
    assert [pair.name for pair in found] == ["a b", "pic_2", "pic_10"]
    assert [path.parent.name for path in found[1].images] == ["image_1", "image_2"]
    assert [path.name for path in found[1].images] == ["pic_2.png"] * 2
    assert notes == []


def test_a_pair_is_two_images_of_their_own_sizes(folder):
    pair = read(folder, 1)
    assert pair["image0"].shape == (1, 3, 20, 30)
    assert pair["image1"].shape == (1, 3, 18, 25)
    expected = torch.from_numpy(picture(20, 30, seed=0)).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(pair["image0"], expected)
    assert (pair["index"], pair["name"], pair["names"]) == (1, "pic_2", ("pic_2.png",) * 2)
    assert (pair["valid0"], pair["valid1"], pair["scale"]) == (None, None, 1)
    assert (pair["pairs"], pair["notes"]) == ([(0, 1)], [])


def test_names_may_differ_between_the_folders(tmp_path):
    write(tmp_path / "image_1" / "left.png", picture())
    write(tmp_path / "image_2" / "right.jpg", picture())
    found, notes = find_pairs(tmp_path)
    assert ([pair.name for pair in found], notes) == (["left"], [])


def test_an_order_that_contradicts_the_names_is_told(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "image_1" / f"{name}.png", picture())
    for name in ("b", "c"):
        write(tmp_path / "image_2" / f"{name}.png", picture())
    _, notes = find_pairs(tmp_path)
    assert len(notes) == 1
    assert "paired in order, not by name: b.png with c.png" in notes[0]


def test_a_table_of_pairs_decides_where_there_is_one(folder):
    (folder / "pairs.csv").write_text(
        "image0,image1\nimage_1/a b.png,image_2/pic_2.png\nimage_2/a b.png,image_1/a b.png\n"
    )
    found, _ = find_pairs(folder)
    assert [pair.name for pair in found] == ["a b", "a b_2"]
    assert found[0].images == (folder / "image_1/a b.png", folder / "image_2/pic_2.png")


def test_a_table_names_masks_where_there_are_any(folder):
    write(folder / "sky.png", np.full((22, 30), 255, np.uint8))
    (folder / "pairs.csv").write_text(
        "image0,image1,mask0,mask1\nimage_1/a b.png,image_2/pic_2.png,sky.png,\n"
    )
    assert find_pairs(folder)[0][0].masks == (folder / "sky.png", None)


def test_masks_are_found_by_the_name_of_their_picture(folder):
    mask = np.zeros((20, 30), np.uint8)
    mask[3:7, 10:20] = 255
    write(folder / "mask_1" / "pic_2.png", mask)
    pair = read(folder, 1)
    assert pair["valid0"].shape == (1, 20, 30)
    assert torch.equal(pair["valid0"][0], torch.from_numpy(mask > 0))
    assert pair["valid1"] is None
    assert read(folder, 0)["valid0"] is None


def test_a_large_pair_is_reduced_by_one_factor_and_says_so(tmp_path):
    write(tmp_path / "image_1" / "a.png", picture(40, 100))
    write(tmp_path / "image_2" / "a.png", picture(20, 50))
    write(tmp_path / "mask_1" / "a.png", np.full((40, 100), 255, np.uint8))
    pair = read(tmp_path, max_size=50)
    assert pair["image0"].shape[-2:] == pair["valid0"].shape[-2:] == (20, 50)
    assert pair["image1"].shape[-2:] == (10, 25)
    assert pair["scale"] == 0.5
    assert "a: reduced to 50% (50x20 and 25x10) for --data.max_size 50" in pair["notes"][0]
    assert read(tmp_path, max_size=100)["notes"] == []


def test_reducing_keeps_the_mean_of_the_pixels(tmp_path):
    write(tmp_path / "image_1" / "a.png", picture(40, 100))
    write(tmp_path / "image_2" / "a.png", picture(40, 100))
    whole, half = read(tmp_path), read(tmp_path, max_size=50)
    expected = torch.nn.functional.avg_pool2d(whole["image0"], 2)
    torch.testing.assert_close(half["image0"], expected, atol=1e-5, rtol=0)


def test_a_photograph_of_many_pixels_is_told_to_take_long(tmp_path, monkeypatch):
    monkeypatch.setattr("patchmatch.core.image_pairs.LARGE", 1000)
    write(tmp_path / "image_1" / "a.png", picture())
    write(tmp_path / "image_2" / "a.png", picture())
    (note,) = read(tmp_path)["notes"]
    assert "30x20 pixels take long; --data.max_size" in note


def test_gray_beside_color_becomes_rgb_and_gray_beside_gray_stays(tmp_path):
    gray = picture(channels=1)
    write(tmp_path / "image_1" / "a.png", gray)
    write(tmp_path / "image_2" / "a.png", picture())
    write(tmp_path / "image_1" / "b.png", gray)
    write(tmp_path / "image_2" / "b.png", gray)
    mixed, plain = read(tmp_path, 0), read(tmp_path, 1)
    assert mixed["image0"].shape[1] == mixed["image1"].shape[1] == 3
    torch.testing.assert_close(mixed["image0"][0, 2], torch.from_numpy(gray) / 255)
    assert "image_1/a.png: is gray and its partner is not" in mixed["notes"][0].replace("\\", "/")
    assert plain["image0"].shape == plain["image1"].shape == (1, 1, 20, 30)
    assert plain["notes"] == []


def test_sixteen_bits_and_floats_are_scaled_to_one(tmp_path):
    deep = np.zeros((20, 30, 3), np.uint16)
    deep[4, 5] = 65535, 32768, 0
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    (tmp_path / "pairs.csv").write_text("image0,image1\ndeep.png,deep.png\n")
    assert read(tmp_path)["image0"][0, :, 4, 5].tolist() == pytest.approx([1, 0.5, 0], abs=1e-4)


@pytest.mark.parametrize("which", ["image_1", "image_2"])
def test_an_unreadable_picture_leaves_its_pair_out_and_is_named(folder, which):
    path = folder / which / "pic_2.png"
    path.write_bytes(path.read_bytes()[:100])
    pair = read(folder, 1)
    assert pair["pairs"] == []
    assert len(pair["notes"]) == 1
    assert pair["notes"][0].startswith("pair left out: ")
    assert str(path) in pair["notes"][0]
    assert read(folder, 2)["pairs"] == [(0, 1)]


def test_a_black_mask_leaves_its_pair_out(folder):
    write(folder / "mask_2" / "pic_2.png", np.zeros((18, 25), np.uint8))
    pair = read(folder, 1)
    assert pair["pairs"] == []
    assert "a mask must be white where its picture counts" in pair["notes"][0]


def missing_folder(folder):
    (folder / "image_2").rename(folder / "other")


def one_too_few(folder):
    (folder / "image_2" / "pic_10.png").unlink()


def empty_folder(folder):
    for path in (folder / "image_1").iterdir():
        path.unlink()


def mask_of_another_size(folder):
    write(folder / "mask_1" / "pic_2.png", np.full((20, 29), 255, np.uint8))


def mask_of_no_picture(folder):
    write(folder / "mask_2" / "pic_3.png", np.full((20, 29), 255, np.uint8))


def table(text):
    return lambda folder: (folder / "pairs.csv").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing_folder, "image_2: no such folder; the pictures of image_1 are rebuilt from"),
        (
            one_too_few,
            r"image_1 holds 3 images and image_2 2 images \(pic_10.png only in image_1\); give "
            "each its partner",
        ),
        (empty_folder, "image_1: no images in the folder"),
        (mask_of_another_size, "pic_2.png: a mask must be as large as its picture, but it is 29x2"),
        (mask_of_no_picture, "pic_3.png: a mask must have the name of one picture of .*but none"),
        (table("image0,image1\n"), "pairs.csv: the table lists no pair"),
        (table("image0,second\na,b\n"), "pairs.csv: the table lacks image1"),
        (table("image0,image1\nimage_1/a b.png,\n"), "pairs.csv: pair 1 has no image1; name its"),
        (
            table("image0,image1\nimage_1/a b.png,image_2/a.png\n"),
            "a.png: no such file, but pair 1 of .*pairs.csv names it",
        ),
    ],
)
def test_pairs_that_are_no_pairs_are_refused_before_anything_is_done(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=message):
        ImagePairs(str(folder)).setup("predict")


def test_what_is_no_folder_is_refused(folder):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_pairs(folder / "nowhere")
    with pytest.raises(InputError, match="this is a file; give the folder it lies in"):
        find_pairs(folder / "image_1" / "a b.png")


def test_other_verbs_than_predict_are_refused(folder):
    with pytest.raises(InputError, match="have no ground truth"):
        ImagePairs(str(folder)).setup("fit")


@pytest.mark.parametrize(("option", "value"), [("max_size", 8), ("num_workers", -1)])
def test_settings_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        ImagePairs(**{option: value})


def test_pairs_that_a_former_run_has_done_are_left_out_and_the_others_keep_their_index(folder):
    data = ImagePairs(str(folder))
    data.setup("predict")
    data.skip([0, 2])
    assert [pair["index"] for pair in data.predict_dataloader()] == [1]


def test_what_is_no_picture_is_told(folder):
    (folder / "image_2" / "notes.txt").write_text("text")
    with pytest.warns(UserWarning, match=r"image_2: ignored notes\.txt"):
        ImagePairs(str(folder)).setup("predict")


def test_worker_processes_read_the_same(folder):
    files, _ = find_pairs(folder)
    here = ImagePairSet(files, "run", None)
    data = ImagePairs(str(folder), num_workers=1)
    data.setup("predict")
    for pair, expected in zip(data.predict_dataloader(), here, strict=True):
        torch.testing.assert_close(pair["image1"], expected["image1"])
