"""What tests of whole runs share."""

import csv
import os
import re
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
    """Write a picture; its folder is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def rows(path: str | Path = "out/pairs.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def one_line(capsys: pytest.CaptureFixture[str], run: Callable[[], None]) -> str:
    """Run what must end with exit code 2, and return its one line."""
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    lines = [line for line in message.splitlines() if "error:" in line]
    assert len(lines) == 1, message
    return lines[0]


def quiet_trainer(*callbacks: pl.Callback) -> pl.Trainer:
    """Return a trainer that prints and logs nothing of its own."""
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def start(options: Sequence[str], folder: Path, threads: int | None = 1) -> subprocess.Popen[str]:
    """Start the program in a folder; ``threads`` of None leaves their number to torch."""
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
    """Run the program to its good end, and return what it told."""
    process = start(options, folder, threads)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def kill_once_there_is(made: Path, process: subprocess.Popen[str]) -> None:
    """Kill -9 a process as soon as it has made a file or folder, and wait for it."""
    while process.poll() is None and not made.exists():
        pass
    process.kill()
    process.communicate()
    assert process.returncode < 0, "it came to its end before it could be killed"


def contents(folder: Path, timed: Sequence[str] = ()) -> dict[str, object]:
    """Return every file by its name; of the summary and of tables that tell seconds all but these.

    Args:
        folder: Of a run.
        timed: Names of these tables.
    """
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        found[name] = path.read_bytes()
        if path.name in timed:
            found[name] = [{**row, "seconds": ""} for row in rows(path)]
    found["summary.json"] = re.sub(
        r'"seconds": [0-9.]+', "", (folder / "summary.json").read_text(encoding="utf-8")
    )
    return found
