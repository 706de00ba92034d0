import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from patchmatch.shift.matcher import ShiftMatcher

SCRIPT = Path(__file__).parents[2] / "dev" / "patch_match_mnist_dev.py"


@pytest.fixture(scope="module")
def dev():
    spec = importlib.util.spec_from_file_location("patch_match_mnist_dev", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_frames(folder, count=3):
    folder.mkdir()
    scene = np.random.default_rng(0).integers(0, 256, (60, 70 + count), dtype=np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 1)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), scene[:, count - i : count - i + 70])
    return folder


def test_montages_of_digits_and_shifted_pairs_are_written(dev, capsys):
    dev.main(["--visualize_shifts", "True"])
    output = capsys.readouterr().out
    for name in (
        *("montages/digits_train.png", "montages/digits_val.png", "montages/digits_test.png"),
        *("montages/canvases_train.png", "visualise_shifts/pairs.png"),
        "visualise_shifts/pairs_augmented.png",
    ):
        image = cv2.imread(str(Path("data") / name))
        assert image is not None
        assert image.std() > 10
        assert name in output


def test_kernels_of_the_energy_network_are_drawn(dev, capsys):
    dev.main(["--visualize_filters", "True"])
    assert "kernels_odd.png" in capsys.readouterr().out
    even, odd = (cv2.imread(f"data/visualise_filters/kernels_{p}.png") for p in ("even", "odd"))
    assert even.shape == odd.shape
    assert (even != odd).any()
    assert not Path("data/montages").exists()


def test_kernels_of_the_correlation_network_are_refused(dev, tmp_path, capsys):
    matcher = ShiftMatcher(net="correlation")
    checkpoint = {"state_dict": matcher.state_dict(), "hyper_parameters": dict(matcher.hparams)}
    matcher.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "c.ckpt")
    with pytest.raises(SystemExit) as end:
        dev.main(["--visualize_filters", "True", "--ckpt_path", str(tmp_path / "c.ckpt")])
    assert end.value.code == 2
    assert "give a checkpoint of --model.net energy" in capsys.readouterr().err


def test_predict_draws_boxes_or_montages(dev, tmp_path):
    frames = write_frames(tmp_path / "frames")
    line = ["--stage", "predict", "--predict_dir", str(frames), "--top_k_dets", "3"]
    line += ["--batch_size", "2", "--num_workers", "0", "--accelerator", "cpu"]
    dev.main([*line, "--num_devices", "1", "--output_path", "boxes"])
    assert {p.name for p in Path("boxes/topk_diffs").iterdir()} == {"top3_1.png", "top3_2.png"}
    assert cv2.imread("boxes/topk_diffs/top3_1.png").shape == (60, 70, 3)
    dev.main([*line, "--export_box_overlay", "False", "--output_path", "montage"])
    assert cv2.imread("montage/topk_diffs/top3_1.png").shape != (60, 70, 3)


def test_fit_logs_to_output_path(dev, monkeypatch):
    lines = []
    monkeypatch.setattr(dev, "run", lines.append)
    dev.main(["--stage", "fit", "--max_epochs", "2", "--output_path", "out", "--data_dir", "d"])
    (line,) = lines
    assert line[0] == "fit"
    assert "--trainer.max_epochs=2" in line
    assert "--trainer.default_root_dir=out" in line
    assert "--data.data_dir=d" in line
    (logger,) = [word for word in line if word.startswith("--trainer.logger=")]
    assert logger.count("'out'") == 2


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_validate_and_test_use_the_checkpoint(dev, monkeypatch, stage):
    lines = []
    monkeypatch.setattr(dev, "run", lines.append)
    dev.main(["--stage", stage, "--ckpt_path", "some.ckpt"])
    assert lines[0][0] == stage
    assert "--ckpt_path=some.ckpt" in lines[0]


@pytest.mark.parametrize("line", [["--stage", "sleep"], ["--export_box_overlay", "maybe"]])
def test_a_wrong_option_exits_with_code_2(dev, line, capsys):
    with pytest.raises(SystemExit) as stop:
        dev.main(line)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
