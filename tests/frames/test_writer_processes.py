"""Whole programs: killed in the middle and resumed, or as two processes, the files are the same."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from whole_runs import QUIET, ROOT, TWO, contents, kill_once_there_is, run, start

CONFIG = ROOT / "configs" / "config_patch_match_predict.yaml"


def write_frames(folder: Path, count: int, seed: int, size: tuple[int, int] = (60, 80)) -> None:
    """A textured scene in which a square moves by two pixels a frame."""
    rng = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(rng.integers(0, 256, size).astype(np.float32), (0, 0), 1.2)
    square = cv2.GaussianBlur(rng.integers(0, 256, (26, 26)).astype(np.float32), (0, 0), 1.2)
    folder.mkdir(parents=True)
    for i in range(count):
        frame = scene.copy()
        left = 2 * i % (size[1] - 26)
        frame[10:36, left : left + 26] = square
        cv2.imwrite(str(folder / f"frame_{i}.png"), frame.astype(np.uint8))


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
def whole(frames, tmp_path_factory) -> dict[str, object]:
    """What one process leaves that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    run(command(frames, folder / "out"), folder)
    found = contents(folder / "out")
    assert {"annotated/a.mp4", "annotated/b.mp4"} <= set(found)
    assert sum(name.endswith(".flo") for name in found) == 23 + 8
    return found


@pytest.mark.parametrize(
    "until", ["chunks/000003.json", pytest.param("annotated", marks=pytest.mark.slow)]
)
def test_a_run_that_was_killed_goes_on(tmp_path, frames, whole, until):
    """Kill -9 in the middle of the clips, and in the middle of the merge; then resume."""
    process = start(command(frames, tmp_path / "out"), tmp_path)
    kill_once_there_is(tmp_path / "out" / until, process)
    assert not (tmp_path / "out/summary.json").exists()
    run(command(frames, tmp_path / "out", "--writer.resume=true"), tmp_path)
    assert contents(tmp_path / "out") == whole


def test_two_processes_write_the_files_of_one(tmp_path, frames, whole):
    run(command(frames, tmp_path / "out", *TWO), tmp_path)
    assert contents(tmp_path / "out") == whole


@pytest.mark.slow
def test_two_processes_go_on_where_two_were_killed(tmp_path, frames, whole):
    process = start(command(frames, tmp_path / "out", *TWO), tmp_path)
    # the other process notices that it is alone, or ends by itself
    kill_once_there_is(tmp_path / "out/chunks/000003.json", process)
    run(command(frames, tmp_path / "out", "--writer.resume=true", *TWO), tmp_path)
    assert contents(tmp_path / "out") == whole
