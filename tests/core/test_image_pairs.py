import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePairDataset, ImagePairs
from patchmatch.core.pair_files import find_pairs


def random_image(height=20, width=30, seed=0, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three pairs; the images of a pair differ in size."""
    for i, name in enumerate(("pic_2.png", "pic_10.png", "a b.png")):
        write(tmp_path / "image_1" / name, random_image(20 + i, 30, seed=i))
        write(tmp_path / "image_2" / name, random_image(18, 25 + i, seed=i + 10))
    return tmp_path


def read(base_dir, index=0, **options):
    data = ImagePairs(str(base_dir), **options)
    data.setup("predict")
    assert data.dataset is not None
    return data.dataset[index]


def test_images_are_paired_in_natural_order(folder):
    found, notes = find_pairs(folder)
    assert [pair.name for pair in found] == ["a b", "pic_2", "pic_10"]
    assert [path.parent.name for path in found[1].images] == ["image_1", "image_2"]
    assert [path.name for path in found[1].images] == ["pic_2.png"] * 2
    assert notes == []


def test_images_of_a_pair_keep_their_sizes(folder):
    pair = read(folder, 1)
    assert pair["image0"].shape == (1, 3, 20, 30)
    assert pair["image1"].shape == (1, 3, 18, 25)
    expected = torch.from_numpy(random_image(20, 30, seed=0)).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(pair["image0"], expected)
    assert (pair["index"], pair["name"], pair["names"]) == (1, "pic_2", ("pic_2.png",) * 2)
    assert (pair["valid0"], pair["valid1"], pair["scale"]) == (None, None, 1)
    assert (pair["pairs"], pair["notes"]) == ([(0, 1)], [])


def test_names_may_differ_between_the_folders(tmp_path):
    write(tmp_path / "image_1" / "left.png", random_image())
    write(tmp_path / "image_2" / "right.jpg", random_image())
    found, notes = find_pairs(tmp_path)
    assert ([pair.name for pair in found], notes) == (["left"], [])


def test_pairing_against_the_names_gives_a_note(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "image_1" / f"{name}.png", random_image())
    for name in ("b", "c"):
        write(tmp_path / "image_2" / f"{name}.png", random_image())
    _, notes = find_pairs(tmp_path)
    assert len(notes) == 1
    assert "paired in order, not by name: b.png with c.png" in notes[0]


def test_table_takes_precedence_over_folders(folder):
    (folder / "pairs.csv").write_text(
        "image0,image1\nimage_1/a b.png,image_2/pic_2.png\nimage_2/a b.png,image_1/a b.png\n"
    )
    found, _ = find_pairs(folder)
    assert [pair.name for pair in found] == ["a b", "a b_2"]
    assert found[0].images == (folder / "image_1/a b.png", folder / "image_2/pic_2.png")


def test_table_lists_masks(folder):
    write(folder / "sky.png", np.full((22, 30), 255, np.uint8))
    (folder / "pairs.csv").write_text(
        "image0,image1,mask0,mask1\nimage_1/a b.png,image_2/pic_2.png,sky.png,\n"
    )
    assert find_pairs(folder)[0][0].masks == (folder / "sky.png", None)


def test_masks_are_found_by_the_name_of_their_image(folder):
    mask = np.zeros((20, 30), np.uint8)
    mask[3:7, 10:20] = 255
    write(folder / "mask_1" / "pic_2.png", mask)
    pair = read(folder, 1)
    assert pair["valid0"].shape == (1, 20, 30)
    assert torch.equal(pair["valid0"][0], torch.from_numpy(mask > 0))
    assert pair["valid1"] is None
    assert read(folder, 0)["valid0"] is None


def test_large_pair_is_downscaled_by_one_factor_with_a_note(tmp_path):
    write(tmp_path / "image_1" / "a.png", random_image(40, 100))
    write(tmp_path / "image_2" / "a.png", random_image(20, 50))
    write(tmp_path / "mask_1" / "a.png", np.full((40, 100), 255, np.uint8))
    pair = read(tmp_path, max_size=50)
    assert pair["image0"].shape[-2:] == pair["valid0"].shape[-2:] == (20, 50)
    assert pair["image1"].shape[-2:] == (10, 25)
    assert pair["scale"] == 0.5
    assert "a: reduced to 50% (50x20 and 25x10) for --data.max_size 50" in pair["notes"][0]
    assert read(tmp_path, max_size=100)["notes"] == []


def test_downscaling_averages_pixels(tmp_path):
    write(tmp_path / "image_1" / "a.png", random_image(40, 100))
    write(tmp_path / "image_2" / "a.png", random_image(40, 100))
    whole, half = read(tmp_path), read(tmp_path, max_size=50)
    expected = torch.nn.functional.avg_pool2d(whole["image0"], 2)
    torch.testing.assert_close(half["image0"], expected, atol=1e-5, rtol=0)


def test_large_pair_gives_a_note_that_it_takes_long(tmp_path, monkeypatch):
    monkeypatch.setattr("patchmatch.core.image_pairs.LARGE", 1000)
    write(tmp_path / "image_1" / "a.png", random_image())
    write(tmp_path / "image_2" / "a.png", random_image())
    (note,) = read(tmp_path)["notes"]
    assert "30x20 pixels take long; --data.max_size" in note


def test_gray_becomes_rgb_only_beside_rgb(tmp_path):
    gray = random_image(channels=1)
    write(tmp_path / "image_1" / "a.png", gray)
    write(tmp_path / "image_2" / "a.png", random_image())
    write(tmp_path / "image_1" / "b.png", gray)
    write(tmp_path / "image_2" / "b.png", gray)
    mixed, plain = read(tmp_path, 0), read(tmp_path, 1)
    assert mixed["image0"].shape[1] == mixed["image1"].shape[1] == 3
    torch.testing.assert_close(mixed["image0"][0, 2], torch.from_numpy(gray) / 255)
    assert "image_1/a.png: is gray, but the other image" in mixed["notes"][0].replace("\\", "/")
    assert plain["image0"].shape == plain["image1"].shape == (1, 1, 20, 30)
    assert plain["notes"] == []


def test_sixteen_bits_are_scaled_to_one(tmp_path):
    deep = np.zeros((20, 30, 3), np.uint16)
    deep[4, 5] = 65535, 32768, 0
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    (tmp_path / "pairs.csv").write_text("image0,image1\ndeep.png,deep.png\n")
    assert read(tmp_path)["image0"][0, :, 4, 5].tolist() == pytest.approx([1, 0.5, 0], abs=1e-4)


@pytest.mark.parametrize("which", ["image_1", "image_2"])
def test_unreadable_image_skips_its_pair_with_a_note(folder, which):
    path = folder / which / "pic_2.png"
    path.write_bytes(path.read_bytes()[:100])
    pair = read(folder, 1)
    assert pair["pairs"] == []
    assert len(pair["notes"]) == 1
    assert pair["notes"][0].startswith("pair left out: ")
    assert str(path) in pair["notes"][0]
    assert read(folder, 2)["pairs"] == [(0, 1)]


def test_black_mask_skips_its_pair(folder):
    write(folder / "mask_2" / "pic_2.png", np.zeros((18, 25), np.uint8))
    pair = read(folder, 1)
    assert pair["pairs"] == []
    assert "the mask is black" in pair["notes"][0]


def missing_folder(folder):
    (folder / "image_2").rename(folder / "other")


def one_too_few(folder):
    (folder / "image_2" / "pic_10.png").unlink()


def empty_folder(folder):
    for path in (folder / "image_1").iterdir():
        path.unlink()


def mask_of_another_size(folder):
    write(folder / "mask_1" / "pic_2.png", np.full((20, 29), 255, np.uint8))


def mask_without_image(folder):
    write(folder / "mask_2" / "pic_3.png", np.full((20, 29), 255, np.uint8))


def table(text):
    return lambda folder: (folder / "pairs.csv").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing_folder, "image_2: no such folder; each image of image_1 is paired with"),
        (
            one_too_few,
            r"image_1 holds 3 images and image_2 2 images \(pic_10.png only in image_1\); add "
            "the missing images",
        ),
        (empty_folder, "image_1: no images in the folder"),
        (
            mask_of_another_size,
            "pic_2.png: a mask must have the size of its image, but it has 29x2",
        ),
        (mask_without_image, "pic_3.png: a mask must have the name of one image of .*but none"),
        (table("image0,image1\n"), "pairs.csv: the table is empty"),
        (table("image0,second\na,b\n"), "pairs.csv: the table lacks image1"),
        (table("image0,image1\nimage_1/a b.png,\n"), "pairs.csv: pair 1 has no image1; add the"),
        (
            table("image0,image1\nimage_1/a b.png,image_2/a.png\n"),
            "a.png: no such file, but pair 1 of .*pairs.csv names it",
        ),
    ],
)
def test_wrong_pairs_raise_in_setup(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        ImagePairs(str(folder)).setup("predict")


def test_image_is_turned_upright_and_its_mask_must_be(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = random_image(20, 29)
    Image.fromarray(stored).save(folder / "image_1" / "pic_2.png", exif=exif)
    pair = read(folder, 1)
    assert (pair["sizes"][0], pair["orientations"]) == ((29, 20), (6, 1))
    assert pair["image0"][0, :, 0, 0].tolist() == pytest.approx((stored[-1, 0] / 255).tolist())
    write(folder / "mask_1" / "pic_2.png", np.full((20, 29), 255, np.uint8))
    with pytest.raises(InputError, match="turn the mask upright, as the image is by its EXIF"):
        ImagePairs(str(folder)).setup("predict")


def test_missing_folder_or_file_as_folder_raises(folder):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_pairs(folder / "nowhere")
    with pytest.raises(InputError, match="this is a file; give the folder that contains it"):
        find_pairs(folder / "image_1" / "a b.png")


def test_stage_other_than_predict_raises(folder):
    with pytest.raises(InputError, match="has no ground truth and supports predict only, not fit"):
        ImagePairs(str(folder)).setup("fit")


@pytest.mark.parametrize(("option", "value"), [("max_size", 8), ("num_workers", -1)])
def test_settings_below_their_minimum_raise(option, value):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        ImagePairs(**{option: value})


def test_skipped_pairs_do_not_change_the_index_of_the_others(folder):
    data = ImagePairs(str(folder))
    data.setup("predict")
    data.skip([0, 2])
    assert [pair["index"] for pair in data.predict_dataloader()] == [1]


def test_file_that_is_not_an_image_is_ignored_with_a_warning(folder):
    (folder / "image_2" / "notes.txt").write_text("text")
    with pytest.warns(UserWarning, match=r"image_2: ignored notes\.txt"):
        ImagePairs(str(folder)).setup("predict")


def test_worker_processes_read_the_same_images(folder):
    files, _ = find_pairs(folder)
    here = ImagePairDataset(files, "run", None)
    data = ImagePairs(str(folder), num_workers=1)
    data.setup("predict")
    for pair, expected in zip(data.predict_dataloader(), here, strict=True):
        torch.testing.assert_close(pair["image1"], expected["image1"])
