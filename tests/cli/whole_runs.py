"""What tests of whole runs share."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


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
