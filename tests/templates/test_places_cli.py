"""Feature tuning from the command line, and template matching with tuned features."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from textures import texture

import patchmatch
from patchmatch.cli import main
from patchmatch.io import read_csv, write_image
from patchmatch.templates.place_matcher import PlaceMatcher

ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "configs" / "config_template_train.yaml")
PREDICT = str(ROOT / "configs" / "config_template_predict.yaml")
QUIET = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.accelerator=cpu",
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def small(tmp_path):
    """Options for a small data set in a folder of images."""
    for i in range(6):
        write_image(tmp_path / "images" / f"{i}.png", texture(68, 100, i))
    return [
        *(f"--data.source={tmp_path / 'images'}", "--data.batches=2", "--data.places=2"),
        *("--data.views=2", "--data.side=32", "--trainer.max_epochs=1"),
    ]


def checkpoints():
    return sorted(Path("data/output").rglob("epoch_*.ckpt"))


def test_fit_test_resume_and_predict(small, tmp_path, capsys):
    main(["fit", "-c", TRAIN, *QUIET, *small, "--model.lr=0.05"])
    (path,) = checkpoints()
    assert f"predict -c template --model.features {path}" in (capsys.readouterr().out)
    version = path.parents[1]
    assert any(version.glob("events.out.tfevents.*"))
    columns = (version / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/recall_1", "val/recall_5", "val/recall_10", "val/ap", "val/found"} <= {*columns}
    content = torch.load(path, weights_only=True)
    assert content["hyper_parameters"]["features"] == "handcrafted"

    main(["test", "-c", TRAIN, *QUIET, *small, f"--ckpt_path={path}"])
    main(["fit", "-c", TRAIN, *QUIET, *small, "--trainer.max_epochs=2", f"--ckpt_path={path}"])
    assert len(checkpoints()) == 2

    scene = texture(120, 150, 9)
    write_image(tmp_path / "scene.png", scene)
    noise = np.random.default_rng(0).normal(0, 25, (40, 44, 3))
    template = (scene[40:80, 60:104] + noise).clip(0, 255).astype(np.uint8)
    write_image(tmp_path / "templates" / "cup.png", template)
    main([
        "predict", "-c", PREDICT, *QUIET, f"--data.scene={tmp_path / 'scene.png'}",
        f"--data.templates={tmp_path / 'templates'}", f"--model.features={path}",
        "--model.threshold=0", "--model.max_detections=1", f"--writer.output_path={tmp_path / 'o'}",
    ])  # fmt: skip
    (row,) = read_csv(tmp_path / "o" / "boxes.csv")
    box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
    assert box == pytest.approx([60, 40, 104, 80], abs=4)
    options = {"threshold": 0, "max_detections": 1}
    found = patchmatch.match_template(scene, template, features=str(path), **options)
    assert found.boxes[0].tolist() == pytest.approx(box, abs=0.01)  # the same from Python
    plain = patchmatch.match_template(scene, template, features="handcrafted", **options)
    assert not torch.equal(found.heatmap, plain.heatmap)
    opened = PlaceMatcher.load_from_checkpoint(path)
    for key, value in opened.state_dict().items():
        assert torch.equal(value, content["state_dict"][key])


def test_checkpoint_from_python_is_tested_by_the_command_line(small, tmp_path):
    import pytorch_lightning

    run = pytorch_lightning.Trainer(logger=False, enable_checkpointing=False, max_epochs=0)
    run.strategy.connect(PlaceMatcher("handcrafted", head=3, embedding=16))
    run.save_checkpoint(tmp_path / "python.ckpt")
    main(["test", "-c", TRAIN, *QUIET, *small, f"--ckpt_path={tmp_path / 'python.ckpt'}"])


def test_fit_on_university_1652(tmp_path):
    for i in range(1, 7):
        for view, count in (("satellite", 1), ("drone", 3), ("street", i % 2)):
            folder = tmp_path / "train" / view / f"{i:04d}"
            folder.mkdir(parents=True)
            for n in range(count * (i != 4)):  # place 0004 is empty
                write_image(folder / f"{n}.jpg", texture(40, 44, 10 * i + n))
    main([
        "fit", "-c", TRAIN, *QUIET, "--data=University1652", f"--data.base_dir={tmp_path}",
        "--data.places=2", "--data.views=2", "--data.side=32", "--trainer.max_epochs=1",
    ])  # fmt: skip
    assert len(checkpoints()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.weights=w.pth"], "w.pth: handcrafted features have no weights"),
        (["--model.features=vgg99"], "features vgg99: give layers too"),
        (["--model.tune=[features.1]"], "handcrafted has no layer features.1"),
        (["--data.side=30"], "side must be a multiple of 8"),
        (["--data.places=99"], "a batch needs 99"),
    ],
)
def test_user_errors_are_one_line_on_stderr(small, capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", TRAIN, *QUIET, *small, *options])
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert message in lines[0]


def test_checkpoint_of_another_class_is_one_line_on_stderr(tmp_path, capsys):
    scene = texture(60, 70)
    write_image(tmp_path / "scene.png", scene)
    write_image(tmp_path / "templates" / "cup.png", scene[20:40, 30:60])
    shipped = ROOT / "patchmatch" / "weights" / "shift_matcher.ckpt"
    with pytest.raises(SystemExit) as stop:
        main([
            "predict", "-c", PREDICT, *QUIET, f"--data.scene={tmp_path / 'scene.png'}",
            f"--data.templates={tmp_path / 'templates'}", f"--model.features={shipped}",
        ])  # fmt: skip
    assert stop.value.code == 2
    assert "of PlaceMatcher, got one of ShiftMatcher" in capsys.readouterr().err.splitlines()[-1]


def run(folder, *arguments):
    """Run patchmatch in a new process, and return the last row of its metrics.csv as numbers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "patchmatch", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    newest = max(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    return {name: float(v) for name, v in read_csv(newest)[-1].items() if v and "/" in name}


@pytest.mark.slow
def test_two_processes_train_and_measure_the_same(small, tmp_path):
    for name in ("one", "two", "fit"):
        (tmp_path / name).mkdir()
    run(tmp_path / "fit", "fit", "-c", TRAIN, *QUIET, *small)
    (path,) = (tmp_path / "fit").rglob("epoch_*.ckpt")
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    test = ["test", "-c", TRAIN, *QUIET, *small[:-1], f"--ckpt_path={path}"]
    one = run(tmp_path / "one", *test)
    assert run(tmp_path / "two", *test, *two) == pytest.approx(one, rel=1e-4)
    assert {"test/recall_1", "test/ap", "test/found"} <= set(one)
    run(tmp_path / "fit", "fit", "-c", TRAIN, *QUIET, *small, *two)
