"""Test that resumed runs and runs of two processes write the same fields as a single run."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import QUIET, ROOT, TWO, contents, kill_when_exists, run, start

CONFIG = ROOT / "configs" / "config_reconstruct_predict.yaml"
TIMED = ["pairs.csv", "iterations.csv"]  # contain seconds


def command(pairs: Path, output: Path, *options: str) -> list[str]:
    return [
        *("predict", "-c", str(CONFIG), *QUIET),
        *(f"--data.base_dir={pairs}", f"--writer.output_path={output}"),
        *("--model.both_ways=true", "--writer.keep_iterations=[1]", *options),
    ]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Five pairs that are too large for brute force; one image is unreadable."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("image_1", "image_2"):
        (folder / name).mkdir()
    for i in range(5):
        rng = np.random.default_rng(i)
        scene = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3)).astype(np.float32), (0, 0), 1.5)
        cv2.imwrite(str(folder / "image_1" / f"{i}.png"), scene[:, :-7].astype(np.uint8))
        cv2.imwrite(str(folder / "image_2" / f"{i}.png"), scene[2:, 7:].astype(np.uint8))
    (folder / "image_2" / "3.png").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory) -> dict[str, object]:
    """The files of an uninterrupted run of one process."""
    folder = tmp_path_factory.mktemp("whole")
    run(command(pairs, folder / "out"), folder, threads=None)
    found = contents(folder / "out", TIMED)
    assert [row["name"] for row in found["pairs.csv"]] == ["0", "1", "2", "4"]  # type: ignore[attr-defined]
    assert sum(name.endswith("field.npz") for name in found) == 4
    return found


def test_two_processes_write_the_files_of_one(tmp_path, pairs, whole):
    output = run(command(pairs, tmp_path / "out", *TWO), tmp_path, threads=None)
    assert contents(tmp_path / "out", TIMED) == whole
    assert output.count("4 pairs: 4 reconstructions") == 1


@pytest.mark.parametrize("options", [[], pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_killed_run_can_be_resumed(tmp_path, pairs, whole, options):
    process = start(command(pairs, tmp_path / "out", *options), tmp_path, threads=None)
    kill_when_exists(tmp_path / "out/chunks/000001.json", process)
    assert not (tmp_path / "out/summary.json").exists()
    resumed = command(pairs, tmp_path / "out", "--writer.resume=true", *options)
    output = run(resumed, tmp_path, threads=None)
    assert "pairs are already complete" in output
    assert contents(tmp_path / "out", TIMED) == whole
