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
    """Import ``dev/render_frames.py``; dev is not a package."""
    spec = importlib.util.spec_from_file_location("render_frames", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main = load_script().main


def error_line(arguments, capsys):
    """Run the script, which must exit with code 2, and return its only line of output."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    assert exit_info.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_all_options_affect_the_frames(tmp_path, capsys):
    options = {"seed": 7, "noise": 1.5, "light": 0.1}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["--output", str(tmp_path), *SMALL, *flags]) == 0
    message = r"Wrote 2 frames of 300x200 with 2 cows \(speeds 1, 3 px per frame\) to .*\n"
    assert re.fullmatch(message, capsys.readouterr().out)
    sequence = render_sequence(frames=2, height=200, width=300, **options)
    for t in range(2):
        image = cv2.imread(str(tmp_path / f"frame_{t}.png"))
        assert np.array_equal(image[..., ::-1], sequence.frames[t])


@pytest.mark.slow
def test_equal_seeds_write_equal_files_in_another_process(tmp_path):
    arguments = [*SMALL, "--seed", "7", "--output"]
    command = [sys.executable, str(SCRIPT), *arguments, "cows"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    main([*arguments, str(tmp_path / "again")])
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {"frame_0.png", "frame_1.png", "truth.csv", "truth_masks.npz"}
    for path in (tmp_path / "cows").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_earlier_frames_require_overwrite(tmp_path, capsys):
    (tmp_path / "frame_5.png").write_bytes(b"earlier")
    assert "--overwrite" in error_line(["--output", tmp_path, *SMALL], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["frame_5.png"]
    assert main(["--output", str(tmp_path), *SMALL, "--overwrite"]) == 0
    assert not (tmp_path / "frame_5.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "1"], "frames must be at least 2"),
        (["--width", "200"], "576x200; increase"),
        (["--noise", "nan"], "noise must be between 0 and 255"),
        (["--frames", "many"], "invalid int value"),
        (["--speed", "3"], "unrecognized arguments"),
    ],
)
def test_invalid_options_print_one_line_and_write_nothing(flags, message, tmp_path, capsys):
    line = error_line(["--output", tmp_path / "cows", *flags], capsys)
    assert re.search(message, line)
    assert not (tmp_path / "cows").exists()
