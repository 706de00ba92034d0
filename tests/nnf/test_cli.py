"""Test whole runs of reconstruction, and the errors of wrong input."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import one_line, rows, write

from patchmatch.cli import main
from patchmatch.io import read_image
from patchmatch.nnf import matcher as matcher_module

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "config_reconstruct_predict.yaml")
SMALL_DATA = [
    *("--data.train_pairs=64", "--data.eval_pairs=32", "--data.canvases=5"),
    *("--data.num_workers=0", "--trainer.logger=false", "--trainer.accelerator=cpu"),
]
QUICK = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.accelerator=cpu", "--model.preset=plain", "--model.iterations=2"),
    *("--model.patch_size=5", "--writer.output_path=out"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def random_image(seed=0, height=24, width=32):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    return cv2.GaussianBlur(values, (0, 0), 1.0).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two pairs; image 1 shows image 0 moved by three pixels to the left."""
    for i, name in enumerate(("a", "b")):
        scene = random_image(seed=i)
        write(tmp_path / "in" / "image_1" / f"{name}.png", scene[:, :-3])
        write(tmp_path / "in" / "image_2" / f"{name}.png", scene[:, 3:])
    return tmp_path / "in"


def predict(folder, *options):
    main(["predict", "-c", CONFIG, f"--data.base_dir={folder}", *QUICK, *options])


def predict_error(capsys, folder, *options):
    """Return the error line of a prediction that fails."""
    return one_line(capsys, lambda: predict(folder, *options))


def test_a_folder_of_pairs_is_reconstructed(folder, capsys):
    predict(
        folder, "--model.iterations=8", "--model.both_ways=true", "--writer.keep_iterations=[1]"
    )
    table = rows()
    assert [row["name"] for row in table] == ["a", "b"]
    assert {row["iterations"] for row in table} == {"8"}
    for row in table:
        folder = Path("out/pairs") / row["name"]
        assert float(row["psnr"]) > 24
        assert 0 < float(row["consistent"]) <= 1
        steps = rows(folder / "iterations.csv")
        assert len(steps) == 8
        assert float(steps[-1]["psnr"]) == float(row["psnr"])
        assert float(steps[-1]["ssd"]) < float(steps[0]["ssd"])
        with np.load(folder / "field.npz") as field:
            moved = (field["flow"][0] == -3) & (field["flow"][1] == 0)
        assert moved[4:-4, 8:-4].mean() > 0.8
        original = read_image(folder / "image0.png").astype(float)
        rebuilt = read_image(folder / "rebuilt_vote.png").astype(float)
        error = np.square((original - rebuilt) / 255).mean()
        assert -10 * np.log10(error) == pytest.approx(float(row["psnr"]), abs=0.1)  # 8 bits
    output = capsys.readouterr().out
    assert "2 pairs: 2 reconstructions" in output
    assert str(Path("out/pairs.csv")) in output


def test_paths_in_a_table_of_pairs_may_contain_spaces(folder):
    write(folder / "my pictures" / "one more.png", random_image(seed=5))
    (folder / "pairs.csv").write_text("image0,image1\nmy pictures/one more.png,image_2/b.png\n")
    predict(folder)
    assert [row["name"] for row in rows()] == ["one more"]
    assert Path("out/pairs/one more/overview.png").is_file()


def test_an_unreadable_image_is_reported_and_the_other_pairs_are_predicted(folder, capsys):
    path = folder / "image_2" / "a.png"
    path.write_bytes(path.read_bytes()[:150])
    predict(folder)
    assert "a.png" in capsys.readouterr().err
    assert [row["name"] for row in rows()] == ["b"]
    assert len(json.loads(Path("out/summary.json").read_text())["skipped"]) == 1


def test_a_run_without_a_readable_pair_fails(folder, capsys):
    for path in (folder / "image_1").iterdir():
        path.write_text("not an image")
    assert "nothing was matched" in predict_error(capsys, folder)


def test_blank_images_are_reconstructed(tmp_path):
    for which in ("image_1", "image_2"):
        write(tmp_path / "in" / which / "a.png", np.full((20, 24, 3), 90, np.uint8))
    predict(tmp_path / "in")
    assert float(rows()[0]["psnr"]) > 100  # up to rounding
    assert (read_image("out/pairs/a/rebuilt_vote.png") == 90).all()


def test_a_gray_image_beside_a_color_image_is_reported_and_matched(folder, capsys):
    write(folder / "image_1" / "a.png", random_image()[..., 0])
    predict(folder)
    assert "a.png: is gray, but the other image" in capsys.readouterr().err
    assert len(rows()) == 2


def test_pixels_outside_the_mask_have_infinite_cost(folder):
    mask = np.zeros((24, 29), np.uint8)
    mask[5:15, 8:20] = 255
    write(folder / "mask_1" / "a.png", mask)
    predict(folder)
    with np.load("out/pairs/a/field.npz") as field:
        assert np.array_equal(np.isfinite(field["cost"]), mask > 0)


def test_a_reduced_pair_is_reported(folder, capsys):
    predict(folder, "--data.max_size=20")
    assert "reduced to" in capsys.readouterr().err
    assert (rows()[0]["width0"], rows()[0]["height0"]) == ("20", "17")


def test_options_of_the_matcher_are_applied(folder):
    predict(
        *(folder, "--model=PatchMatch", "--model.k=2", "--model.features=contrast"),
        *("--model.norm=l1", "--model.max_displacement=6", "--model.seed=4", "--model.tolerance=2"),
    )
    with np.load("out/pairs/a/field.npz") as field:
        assert field["flow"].shape == (2, 2, 24, 29)
        assert np.abs(field["flow"]).max() <= 6


# -- wrong input: one line, exit code 2


def test_a_missing_folder_fails(folder, capsys):
    for name in ("image_2", "image_1"):
        (folder / name).rename(folder / f"other_{name}")
        assert f"{name}: no such folder" in predict_error(capsys, folder)
    assert not list(Path().glob("out/*"))


def test_folders_with_different_numbers_of_images_fail(folder, capsys):
    (folder / "image_2" / "b.png").unlink()
    line = predict_error(capsys, folder)
    assert "image_1 holds 2 images and image_2 1 image (b.png only in image_1)" in line


def test_a_table_with_a_missing_image_fails(folder, capsys):
    (folder / "pairs.csv").write_text("image0,image1\nimage_1/a.png,image_2/c.png\n")
    assert "c.png: no such file, but pair 1 of" in predict_error(capsys, folder)


def test_a_run_with_only_images_smaller_than_a_patch_fails(folder, capsys):
    line = predict_error(capsys, folder, "--model.patch_size=27")
    assert "a: a.png is 29x24 pixels, smaller than a patch of 27" in line


def test_a_pair_with_an_image_smaller_than_a_patch_is_skipped(folder, capsys):
    write(folder / "image_2" / "a.png", random_image(height=4))
    predict(folder)
    assert "pair left out: a: a.png is 32x4 pixels, smaller than" in capsys.readouterr().err
    assert [row["name"] for row in rows()] == ["b"]


def test_a_mask_of_another_size_fails(folder, capsys):
    write(folder / "mask_2" / "b.png", np.full((10, 10), 255, np.uint8))
    assert "a mask must have the size of its image" in predict_error(capsys, folder)


def test_a_photograph_too_large_for_the_memory_fails_with_a_size_that_fits(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(matcher_module, "device_memory", lambda _: 10**5)
    monkeypatch.setattr("patchmatch.core.image_pairs.LARGE", 100)  # a note that is not an error
    line = predict_error(capsys, folder)
    assert "nothing was matched; first error: pair left out: a: matching requires about" in line
    assert "give --data.max_size" in line


def test_an_earlier_run_is_kept_without_overwrite(folder, capsys):
    predict(folder)
    before = Path("out/pairs.csv").read_bytes()
    assert "--writer.overwrite true" in predict_error(capsys, folder)
    assert Path("out/pairs.csv").read_bytes() == before
    predict(folder, "--writer.overwrite=true", "--model.iterations=1")
    assert rows()[0]["iterations"] == "1"


def test_a_complete_run_is_not_repeated(folder, capsys):
    predict(folder)
    before = Path("out/pairs.csv").read_bytes()
    predict(folder, "--writer.resume=true")
    assert "the run is already complete" in capsys.readouterr().err
    assert Path("out/pairs.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("model", "writer", "advice"),
    [
        ("SIFTMatcher", "Reconstructions", "--writer PairMatches as in -c match_"),
        ("PatchMatch", "ChangeBoxes", "--writer Reconstructions as in -c rec"),
        ("PatchMatch", "TemplateBoxes", "--writer Reconstructions as in -c rec"),
        ("ShiftMatcher", "PairMatches", "--writer ChangeBoxes as in -c patch"),
    ],
)
def test_a_writer_of_other_predictions_fails(folder, capsys, model, writer, advice):
    line = one_line(
        capsys,
        lambda: main(
            ["predict", "-c", CONFIG, f"--data.base_dir={folder}", f"--model={model}",
             f"--writer={writer}", "--writer.output_path=out", "--trainer.accelerator=cpu"]
        ),
    )  # fmt: skip
    assert f"error: {writer} cannot write the predictions of {model}; use {advice}" in line
    assert not Path("out").exists()


@pytest.mark.parametrize("verb", ["fit", "test"])
def test_other_verbs_fail_in_one_line(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--model=PatchMatch", "--data=ShiftedDigits", *SMALL_DATA])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "PatchMatch has nothing to train" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.preset=quick", "preset must be one of fast, balanced, accurate, plain"),
        ("--model.patch_size=0", "patch_size must be at least 1"),
        ("--data.max_size=3", "max_size must be at least 16"),
        ("--trainer.precision=bf16-true", "computes positions in float32; use 32-true"),
        ("--writer.keep_iterations=[0]", "keep_iterations must be at least 1"),
    ],
)
def test_an_invalid_option_fails_in_one_line(folder, capsys, option, message):
    assert message in predict_error(capsys, folder, option)
