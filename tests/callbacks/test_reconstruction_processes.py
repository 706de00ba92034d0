"""Whole runs of reconstruction: killed and resumed or as two processes, fields are the same."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "config_reconstruct_predict.yaml"
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
TIMED = {"pairs.csv", "iterations.csv", "summary.json"}  # they tell seconds


def start(pairs: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_NUM")}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "patchmatch", "predict", "-c", str(CONFIG)),
            *(f"--data.base_dir={pairs}", f"--writer.output_path={output}"),
            *("--model.both_ways=true", "--writer.keep_iterations=[1]"),
            *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
            *("--trainer.enable_model_summary=false", *options),
        ],
        cwd=output.parent,
        env=environment | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(pairs: Path, output: Path, *options: str) -> str:
    process = start(pairs, output, *options)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def contents(folder: Path) -> dict[str, object]:
    """Return every file by its name; of those that tell seconds all but these."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv" and path.name in TIMED:
            with path.open(newline="") as file:
                found[name] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
        else:
            found[name] = None if path.name in TIMED else path.read_bytes()
    return found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Five pairs that are too large to be compared exactly; one has no readable partner."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("image_1", "image_2"):
        (folder / name).mkdir()
    for i in range(5):
        rng = np.random.default_rng(i)
        scene = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3)).astype(np.float32), (0, 0), 1.5)
        cv2.imwrite(str(folder / "image_1" / f"{i}.png"), scene[:, :-7].astype(np.uint8))
        cv2.imwrite(str(folder / "image_2" / f"{i}.png"), scene[2:, 7:].astype(np.uint8))
    (folder / "image_2" / "3.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory) -> dict[str, object]:
    """What one process leaves that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    run(pairs, folder / "out")
    found = contents(folder / "out")
    assert [row["name"] for row in found["pairs.csv"]] == ["0", "1", "2", "4"]  # type: ignore[attr-defined]
    assert sum(name.endswith("field.npz") for name in found) == 4
    return found


def test_two_processes_find_what_one_finds(tmp_path, pairs, whole):
    told = run(pairs, tmp_path / "out", *TWO)
    assert contents(tmp_path / "out") == whole
    assert told.count("4 pairs: 4 reconstructions") == 1


@pytest.mark.parametrize("options", [[], pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on(tmp_path, pairs, whole, options):
    process = start(pairs, tmp_path / "out", *options)
    while process.poll() is None and not (tmp_path / "out/parts/000001.json").exists():
        pass
    process.kill()
    process.communicate()
    assert process.returncode < 0, "it came to its end before it could be killed"
    assert not (tmp_path / "out/summary.json").exists()
    told = run(pairs, tmp_path / "out", "--writer.resume=true", *options)
    assert "pairs were done before" in told
    assert contents(tmp_path / "out") == whole
