"""Unusual and wrong input, on the command line and in ``patchmatch.match_images``."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from kornia.feature import HardNet
from PIL import Image

import patchmatch
from patchmatch.cli import main
from patchmatch.core.errors import InputError

ROOT = Path(__file__).parents[2]
QUICK = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.accelerator=cpu", "--writer.output_path=out", "--writer.overwrite=true"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def scene():
    """An RGB image of 150x110 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 38, 3)).astype(np.float32)
    large = cv2.resize(noise, (150, 110), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def gray(scene):
    return cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)


def save(path, image, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return str(path)


def match_both_ways(image0, image1, *options, **settings):
    """Match two files on the command line and in Python; return the table row and the matches."""
    config = str(ROOT / "configs" / "config_match_sift.yaml")
    main(["predict", "-c", config, f"--data.pairs={image0},{image1}", *QUICK, *options])
    with Path("out/pairs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    found = patchmatch.match_images(image0, image1, "sift", **settings)
    assert int(row["matches"]) == len(found)
    if found.homography is not None:
        assert float(row["h13"]) == pytest.approx(float(found.homography[0, 2]), rel=1e-6, abs=5e-3)
    else:
        assert row["h13"] == ""
    name = f"{Path(image0).stem}-{Path(image1).stem}"
    assert Path(f"out/pairs/{name}/matches.csv").is_file()
    assert Path(f"out/pairs/{name}/homography_matches.png").is_file()
    return row, found


def error_line(capsys, *arguments, name="sift"):
    """Return the error line of a run with exit code 2."""
    config = str(ROOT / "configs" / f"config_match_{name}.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", config, *QUICK, *arguments])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    (line,) = [line for line in message.splitlines() if "error:" in line]
    return line


def test_images_without_overlap_are_not_overlapping(scene):
    other = np.ascontiguousarray(np.random.default_rng(9).permuted(scene, axis=0))
    row, found = match_both_ways(save("a.png", scene), save("b.png", other))
    assert row["kind"] in ("doubtful", "no_homography")
    assert found.inliers is None or int(found.inliers.sum()) <= 8 + 0.3 * len(found)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_image_has_no_homography(scene, level):
    row, found = match_both_ways(
        save("a.png", scene), save("b.png", np.full((40, 50), level, np.uint8))
    )
    assert (row["kind"], row["matches"]) == ("no_homography", "0")
    assert found.keypoints1.shape == (0, 2)


@pytest.mark.parametrize("shape", [(1, 1), (20_000, 100), (100, 20_000)])
def test_extreme_shapes_are_accepted(scene, gray, shape):
    row, found = match_both_ways(save("a.png", np.resize(gray, shape)), save("b.png", scene))
    assert (int(row["height0"]), int(row["width0"])) == shape
    assert len(found) == 0 or found.keypoints0[:, 1].max() < shape[0]


def test_gray_alpha_and_sixteen_bit_images_can_be_matched(scene, gray):
    alpha = np.dstack([scene, np.full(gray.shape, 7, np.uint8)])
    paths = [save("gray.png", gray), save("alpha.png", alpha)]
    paths.append(save("deep.png", gray.astype(np.uint16) * 257))
    for image0, image1 in zip(paths, [*paths[1:], paths[0]], strict=True):
        row, found = match_both_ways(image0, image1)
        assert row["kind"] == "overlapping"
        error = (found.keypoints1 - found.keypoints0).median(dim=0).values
        assert error.abs().max() < 0.1


def test_exif_orientation_is_applied(scene):
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = save("rotated.jpg", np.ascontiguousarray(np.rot90(scene)), exif=exif, quality=95)
    row, found = match_both_ways(rotated, save("b.png", scene))
    assert (row["width0"], row["height0"]) == ("150", "110")
    assert (found.keypoints1 - found.keypoints0).median(dim=0).values.abs().max() < 0.1


def test_identical_images_have_the_identity_homography(scene):
    row, found = match_both_ways(save("a.png", scene), save("b.png", scene))
    assert row["kind"] == "overlapping"
    assert row["inliers"] == row["matches"]
    assert found.homography.numpy() == pytest.approx(np.eye(3), abs=1e-3)


def test_fewer_than_four_matches_give_no_homography(scene, capsys):
    options = ("--model.max_matches=3",)
    row, found = match_both_ways(
        save("a.png", scene), save("b.png", scene), *options, max_matches=3
    )
    assert (row["kind"], row["matches"], row["inliers"]) == ("no_homography", "3", "0")
    assert "3 matches, no homography: four are required" in capsys.readouterr().err
    assert found.homography is None


def test_missing_images_of_pairs_raise(scene, capsys):
    for name in ("image_1/a.png", "image_1/b.png", "image_2/a.png"):
        save(f"in/{name}", scene)
    line = error_line(capsys, "--data.pairs=in")
    assert "image_1 holds 2 images and image_2 1 image (b.png only in image_1)" in line
    line = error_line(capsys, "--data.pairs=in/image_1/a.png,in/image_2/b.png")
    assert "b.png: no such file, but --data.pairs names it" in line
    Path("table.csv").write_text("image0,image1\nin/image_1/a.png,\n")
    assert "pair 1 has no image1" in error_line(capsys, "--data.pairs=table.csv")
    with pytest.raises(InputError, match=r"b.png: no such file"):
        patchmatch.match_images(scene, "in/image_2/b.png")


def test_damaged_file_skips_only_its_pair(scene, capsys):
    names = [f"{i:02d}" for i in range(30)]
    small = scene[:60, :60]
    for name in names:
        save(f"in/image_1/{name}.png", small)
        save(f"in/image_2/{name}.png", small)
    whole = Path("in/image_2/15.png").read_bytes()
    Path("in/image_2/15.png").write_bytes(whole[: len(whole) // 2])
    config = str(ROOT / "configs" / "config_match_sift.yaml")
    quick = [*QUICK, "--writer.pictures_size=null"]
    main(["predict", "-c", config, "--data.pairs=in", *quick])
    output = capsys.readouterr()
    assert output.err.count("15.png: cannot be read as an image") == 1
    assert "30 pairs" in output.out or "29 pairs" in output.out
    with Path("out/pairs.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [*names[:15], *names[16:]]
    with pytest.raises(InputError, match=r"15.png: cannot be read as an image"):
        patchmatch.match_images("in/image_2/15.png", scene)


@pytest.mark.parametrize(
    ("name", "option", "net"),
    [
        ("loftr", "weights", "LoFTR"),
        ("se2_loftr", "weights", r"SE\(2\)-LoFTR"),
        ("affnet_hardnet", "affnet_weights", "AffNet"),
    ],
)
def test_weights_of_another_network_raise(scene, capsys, name, option, net):
    torch.save({"state_dict": HardNet(pretrained=False).state_dict()}, "hardnet.pth")
    image = save("a.png", scene)
    options = {option: "hardnet.pth"}
    if name == "affnet_hardnet":
        options["descriptor_weights"] = "hardnet.pth"
    given = [f"--model.{key}={value}" for key, value in options.items()]
    line = error_line(capsys, f"--data.pairs={image},{image}", *given, name=name)
    assert f"hardnet.pth: these are not the weights of {net.replace(chr(92), '')}" in line
    assert f"--model.{option}" in line
    with pytest.raises(InputError, match=f"these are not the weights of {net}"):
        patchmatch.match_images(scene, scene, name, **options)
