"""Helpers for tests that run the whole program."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl

ROOT = Path(__file__).parents[2]
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    "--trainer.enable_model_summary=false",
]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]


def write(path: Path, image: np.ndarray) -> None:
    """Write an image and create its folder if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def rows(path: str | Path = "out/pairs.csv") -> list[dict[str, str]]:
    """Read a table."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def one_line(capsys: pytest.CaptureFixture[str], run: Callable[[], None]) -> str:
    """Call a function that must exit with code 2, and return its only error line."""
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    lines = [line for line in message.splitlines() if "error:" in line]
    assert len(lines) == 1, message
    return lines[0]


def quiet_trainer(*callbacks: pl.Callback) -> pl.Trainer:
    """Return a trainer without output and logs."""
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def start(options: Sequence[str], folder: Path, threads: int | None = 1) -> subprocess.Popen[str]:
    """Start the program in a folder; ``threads=None`` keeps the default of torch."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return subprocess.Popen(
        [sys.executable, "-m", "patchmatch", *options],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(options: Sequence[str], folder: Path, threads: int | None = 1) -> str:
    """Run the program, which must succeed, and return its output."""
    process = start(options, folder, threads)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def kill_when_exists(path: Path, process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to a process as soon as a file or folder exists, and wait for its end."""
    while process.poll() is None and not path.exists():
        pass
    process.kill()
    process.communicate()
    assert process.returncode < 0, "the process ended before it was killed"


def contents(folder: Path, timed: Sequence[str] = ()) -> dict[str, object]:
    """Return the content of each output file by its name, without the measured seconds.

    Args:
        folder: Output folder of a run.
        timed: Names of the tables with a column ``seconds``.
    """
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        found[name] = path.read_bytes()
        if path.name in timed:
            found[name] = [{**row, "seconds": ""} for row in rows(path)]
    found["summary.json"] = without_times((folder / "summary.json").read_bytes())
    return found


def without_times(summary: bytes) -> str:
    """Return the content of summary.json without seconds, and with the names of the files only."""
    content = json.loads(summary)
    del content["seconds"]
    content["files"] = [file["path"] for file in content["files"]]
    return json.dumps(content, indent=2, ensure_ascii=False)
