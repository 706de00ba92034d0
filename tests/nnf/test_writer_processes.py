"""Whole runs of reconstruction: killed and resumed or as two processes, fields are the same."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import QUIET, ROOT, TWO, contents, kill_when_exists, run, start

CONFIG = ROOT / "configs" / "config_reconstruct_predict.yaml"
TIMED = ["pairs.csv", "iterations.csv"]  # they tell seconds


def command(pairs: Path, output: Path, *options: str) -> list[str]:
    return [
        *("predict", "-c", str(CONFIG), *QUIET),
        *(f"--data.base_dir={pairs}", f"--writer.output_path={output}"),
        *("--model.both_ways=true", "--writer.keep_iterations=[1]", *options),
    ]


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
    run(command(pairs, folder / "out"), folder, threads=None)
    found = contents(folder / "out", TIMED)
    assert [row["name"] for row in found["pairs.csv"]] == ["0", "1", "2", "4"]  # type: ignore[attr-defined]
    assert sum(name.endswith("field.npz") for name in found) == 4
    return found


def test_two_processes_find_what_one_finds(tmp_path, pairs, whole):
    told = run(command(pairs, tmp_path / "out", *TWO), tmp_path, threads=None)
    assert contents(tmp_path / "out", TIMED) == whole
    assert told.count("4 pairs: 4 reconstructions") == 1


@pytest.mark.parametrize("options", [[], pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on(tmp_path, pairs, whole, options):
    process = start(command(pairs, tmp_path / "out", *options), tmp_path, threads=None)
    kill_when_exists(tmp_path / "out/chunks/000001.json", process)
    assert not (tmp_path / "out/summary.json").exists()
    resumed = command(pairs, tmp_path / "out", "--writer.resume=true", *options)
    told = run(resumed, tmp_path, threads=None)
    assert "pairs are already complete" in told
    assert contents(tmp_path / "out", TIMED) == whole
