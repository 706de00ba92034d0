"""Resumed runs and runs of two processes write the same files as an uninterrupted run."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import QUIET, ROOT, TWO, contents, kill_when_exists, run, start

CONFIG = ROOT / "configs" / "config_match_sift.yaml"
PAIRS = 9
BROKEN = 4  # pair whose image 1 cannot be read


def write_pairs(folder: Path) -> None:
    for which in ("image_1", "image_2"):
        (folder / which).mkdir(parents=True)
    for i in range(PAIRS):
        noise = np.random.default_rng(i).integers(0, 256, (30, 40)).astype(np.float32)
        scene = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).clip(0, 255)
        cv2.imwrite(str(folder / "image_1" / f"{i}.png"), scene[:, 8:].astype(np.uint8))
        cv2.imwrite(str(folder / "image_2" / f"{i}.png"), scene[:, :-8].astype(np.uint8))
    (folder / "image_2" / f"{BROKEN}.png").write_bytes(b"not an image")


def command(pairs: Path, output: Path, *options: str) -> list[str]:
    return [
        *("predict", "-c", str(CONFIG), *QUIET),
        *(f"--data.pairs={pairs}", f"--writer.output_path={output}"),
        *("--writer.colmap=true", "--writer.hloc=true"),
        *options,
    ]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder)
    return folder


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory) -> dict[str, object]:
    """Files of an uninterrupted run of one process."""
    folder = tmp_path_factory.mktemp("whole")
    run(command(pairs, folder / "out"), folder)
    return contents(folder / "out", ["pairs.csv"])


def test_damaged_file_skips_only_its_pair(whole):
    assert [row["name"] for row in whole["pairs.csv"]] == ["0", "1", "2", "3", "5", "6", "7", "8"]
    assert f"{BROKEN}.png: cannot be read as an image" in whole["summary.json"]
    assert {"hloc/matches.h5", "colmap/database.db", "pairs/8/matches.npz"} <= set(whole)


@pytest.mark.slow  # tests/frames has the same of the shared base
def test_killed_run_is_resumed(tmp_path, pairs, whole):
    process = start(command(pairs, tmp_path / "out"), tmp_path)
    kill_when_exists(tmp_path / "out/chunks/000003.json", process)
    assert not (tmp_path / "out/summary.json").exists()
    run(command(pairs, tmp_path / "out", "--writer.resume=true"), tmp_path)
    assert contents(tmp_path / "out", ["pairs.csv"]) == whole


@pytest.mark.slow  # tests/frames has the same of the shared base
def test_two_processes_write_the_same_files_as_one(tmp_path, pairs, whole):
    run(command(pairs, tmp_path / "out", *TWO), tmp_path)
    assert contents(tmp_path / "out", ["pairs.csv"]) == whole
