"""Interrupted and resumed runs and runs with two processes write the files of a single run."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import QUIET, ROOT, TWO, contents, kill_when_exists, run, start

from patchmatch.core.errors import InputError
from patchmatch.io.lock import FolderLock

CONFIG = ROOT / "configs" / "config_patch_match_predict.yaml"


def write_frames(folder: Path, count: int, seed: int, size: tuple[int, int] = (60, 80)) -> None:
    """Write frames of a static texture with a square that moves by two pixels per frame."""
    rng = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(rng.integers(0, 256, size).astype(np.float32), (0, 0), 1.2)
    square = cv2.GaussianBlur(rng.integers(0, 256, (26, 26)).astype(np.float32), (0, 0), 1.2)
    folder.mkdir(parents=True)
    for i in range(count):
        frame = scene.copy()
        left = 2 * i % (size[1] - 26)
        frame[10:36, left : left + 26] = square
        cv2.imwrite(str(folder / f"frame_{i}.png"), frame.astype(np.uint8))


def wait_until_unlocked(folder: Path) -> None:
    for _ in range(600):
        try:
            FolderLock(folder).acquire()
        except InputError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the folder remains locked")


def command(frames: Path, output: Path, *options: str) -> list[str]:
    return [
        *("predict", "-c", str(CONFIG), *QUIET),
        *(f"--data.predict_dir={frames}", "--data.batch_size=2", f"--writer.output_path={output}"),
        *("--writer.formats=[jsonl,flo,npz]", "--writer.video=true"),
        *options,
    ]


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    """Two sequences."""
    folder = tmp_path_factory.mktemp("frames")
    write_frames(folder / "a", 24, seed=0)
    write_frames(folder / "b", 9, seed=1)
    return folder


@pytest.fixture(scope="module")
def expected(frames, tmp_path_factory) -> dict[str, object]:
    """The files of an uninterrupted run with one process."""
    folder = tmp_path_factory.mktemp("expected")
    run(command(frames, folder / "out"), folder)
    files = contents(folder / "out")
    assert {"annotated/a.mp4", "annotated/b.mp4"} <= set(files)
    assert sum(name.endswith(".flo") for name in files) == 23 + 8
    return files


@pytest.mark.parametrize(
    "until", ["chunks/000003.json", pytest.param("annotated", marks=pytest.mark.slow)]
)
def test_killed_run_can_be_resumed(tmp_path, frames, expected, until):
    """SIGKILL during prediction and during the merge."""
    process = start(command(frames, tmp_path / "out"), tmp_path)
    kill_when_exists(tmp_path / "out" / until, process)
    assert not (tmp_path / "out/summary.json").exists()
    run(command(frames, tmp_path / "out", "--writer.resume=true"), tmp_path)
    assert contents(tmp_path / "out") == expected


def test_two_processes_write_the_files_of_one_process(tmp_path, frames, expected):
    run(command(frames, tmp_path / "out", *TWO), tmp_path)
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_two_processes_replace_an_earlier_run(tmp_path, frames, expected):
    run(command(frames, tmp_path / "out", "--writer.top_k=1"), tmp_path)
    run(command(frames, tmp_path / "out", "--writer.overwrite=true", *TWO), tmp_path)
    assert contents(tmp_path / "out") == expected
    line = command(frames / "absent", tmp_path / "out", "--writer.overwrite=true", *TWO)
    process = start(line, tmp_path)
    process.communicate(timeout=300)
    assert process.returncode == 2
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_killed_run_with_two_processes_can_be_resumed(tmp_path, frames, expected):
    process = start(command(frames, tmp_path / "out", *TWO), tmp_path)
    kill_when_exists(tmp_path / "out/chunks/000003.json", process)
    line = command(frames, tmp_path / "out", "--writer.resume=true", *TWO)
    process = start(line, tmp_path)
    output, _ = process.communicate(timeout=300)
    if process.returncode:  # the other process of the killed run ends by itself
        assert "another run uses this folder: process" in output
        wait_until_unlocked(tmp_path / "out")
        run(line, tmp_path)
    assert contents(tmp_path / "out") == expected
