import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.frames.cows.sequence import render_sequence

SCRIPT = Path(__file__).parents[2] / "dev" / "render_frames.py"
SMALL = ["--frames", "2", "--height", "200", "--width", "300"]


def load_script():
    """Import ``dev/render_frames.py``; dev is no package."""
    spec = importlib.util.spec_from_file_location("render_frames", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main = load_script().main


def refusal(arguments, capsys):
    """Run the command line, expect a refusal, and return its only line."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_every_option_reaches_the_frames(tmp_path, capsys):
    options = {"seed": 7, "noise": 1.5, "light": 0.1}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["--output", str(tmp_path), *SMALL, *flags]) == 0
    said = r"Wrote 2 frames of 300x200 with 2 cows \(speeds 1, 3 px a frame\) to .*\n"
    assert re.fullmatch(said, capsys.readouterr().out)
    sequence = render_sequence(frames=2, height=200, width=300, **options)
    for t in range(2):
        picture = cv2.imread(str(tmp_path / f"frame_{t}.png"))
        assert np.array_equal(picture[..., ::-1], sequence.frames[t])


@pytest.mark.slow
def test_same_seed_writes_the_same_bytes_in_another_process_and_folder(tmp_path):
    arguments = [*SMALL, "--seed", "7", "--output"]
    command = [sys.executable, str(SCRIPT), *arguments, "cows"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    main([*arguments, str(tmp_path / "again")])
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {"frame_0.png", "frame_1.png", "truth.csv", "truth_masks.npz"}
    for path in (tmp_path / "cows").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_earlier_frames_need_overwrite(tmp_path, capsys):
    (tmp_path / "frame_5.png").write_bytes(b"earlier")
    assert "--overwrite" in refusal(["--output", tmp_path, *SMALL], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["frame_5.png"]
    assert main(["--output", str(tmp_path), *SMALL, "--overwrite"]) == 0
    assert not (tmp_path / "frame_5.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "1"], "frames must be at least 2"),
        (["--width", "200"], "576x200; enlarge"),
        (["--noise", "nan"], "noise must be between 0 and 255"),
        (["--frames", "many"], "invalid int value"),
        (["--speed", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_values_end_in_one_line_and_write_nothing(flags, message, tmp_path, capsys):
    line = refusal(["--output", tmp_path / "cows", *flags], capsys)
    assert re.search(message, line)
    assert not (tmp_path / "cows").exists()
