import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from patchmatch.io import read_image, write_csv, write_image

SCRIPT = Path(__file__).parents[2] / "dev" / "compare_reconstructions.py"
SIZES = {"width0": 30, "height0": 20, "width1": 30, "height1": 20, "patch_size": 7}


def load_script():
    """Import the script; dev is no package."""
    spec = importlib.util.spec_from_file_location("compare_reconstructions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def write_run(folder, psnr, keep=(1, 3), **sizes):
    """Write what a run of two pairs leaves; ``psnr`` is that of each iteration of the first."""
    rows = [{"name": name} | SIZES | sizes for name in ("a", "b")]
    write_csv(folder / "pairs.csv", ("name", *SIZES), rows)
    for place, name in enumerate(("a", "b")):
        steps = [
            {"iteration": i + 1, "ssd": 0.1, "psnr": value + 2 * place, "ssim": "", "seconds": i}
            for i, value in enumerate(psnr)
        ]
        path = folder / "pairs" / name
        write_csv(path / "iterations.csv", ("iteration", *script.MEASURES), steps)
        for i in keep:
            write_image(
                path / f"rebuilt_vote_{i}.png", np.full((20, 30, 3), (200, 0, 10 * i), "u1")
            )
    return folder


def compare(tmp_path, *arguments):
    return script.main([*map(str, arguments), "--output", str(tmp_path / "out")])


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_every_iteration_and_the_mean_over_pairs(tmp_path, capsys):
    runs = write_run(tmp_path / "one", [20, 24, 26]), write_run(tmp_path / "two", [21, 22])
    assert compare(tmp_path, *runs) == 0
    found = rows(tmp_path / "out" / "comparison.csv")
    assert len(found) == 3 * (3 + 2)
    by_place = {(row["run"], row["name"], row["iteration"]): row for row in found}
    assert by_place["one", "b", "2"]["psnr"] == "26"
    assert by_place["one", "mean", "3"]["psnr"] == "27"
    assert by_place["two", "mean", "2"]["psnr"] == "23"
    assert by_place["two", "mean", "2"]["ssim"] == ""
    told = capsys.readouterr().out
    assert "mean over 2 pairs" in told
    assert "27.00" in told
    assert "comparison.png" in told.splitlines()[-1]


def test_the_picture_shows_what_each_run_has_kept(tmp_path):
    runs = write_run(tmp_path / "one", [20, 24, 26]), write_run(tmp_path / "two", [21], keep=(1,))
    assert compare(tmp_path, *runs, "--iterations", 1, 3) == 0
    picture = read_image(tmp_path / "out" / "comparison.png")
    count = {i: int((picture == (200, 0, 10 * i)).all(axis=2).sum()) for i in (1, 3)}
    assert count == {1: 4 * 20 * 30, 3: 2 * 20 * 30}


def test_runs_without_pictures_are_told_how_to_get_some(tmp_path, capsys):
    runs = write_run(tmp_path / "one", [20], keep=()), write_run(tmp_path / "two", [21])
    assert compare(tmp_path, *runs) == 0
    assert "no pictures of one: predict with --writer.keep_iterations" in capsys.readouterr().err


def test_a_former_comparison_is_kept_unless_asked(tmp_path, capsys):
    run = write_run(tmp_path / "one", [20])
    assert compare(tmp_path, run) == 0
    assert compare(tmp_path, run) == 2
    assert "exists already; give --overwrite" in capsys.readouterr().err
    assert compare(tmp_path, run, "--overwrite") == 0


def test_labels_name_the_runs(tmp_path):
    run = write_run(tmp_path / "x=y", [20])
    assert compare(tmp_path, f"new way={run}", run) == 0
    assert {row["run"] for row in rows(tmp_path / "out" / "comparison.csv")} == {"new way", "x=y"}


def no_run(folder):
    (folder / "two" / "pairs.csv").unlink()


def other_pairs(folder):
    write_csv(folder / "two" / "pairs.csv", ("name", *SIZES), [{"name": "c"} | SIZES])


def other_size(folder):
    write_run(folder / "two", [21], height0=40)


def no_numbers(folder):
    text = "iteration,ssd,psnr,ssim,seconds\n1,x,2,3,4\n"
    (folder / "two" / "pairs" / "a" / "iterations.csv").write_text(text)


def no_curve(folder):
    (folder / "two" / "pairs" / "a" / "iterations.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_run, "two: holds no finished run of reconstructions"),
        (other_pairs, "shares no pair with the other runs"),
        (other_size, "two: height0 of a is 40, and 20 in"),
        (no_numbers, "iterations.csv: is damaged"),
        (no_curve, "iterations.csv: no such file"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(tmp_path, capsys, spoil, message):
    runs = write_run(tmp_path / "one", [20]), write_run(tmp_path / "two", [21])
    spoil(tmp_path)
    assert compare(tmp_path, *runs) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_runs_of_one_name_are_refused(tmp_path, capsys):
    run = write_run(tmp_path / "one", [20])
    assert compare(tmp_path, run, run) == 2
    assert "two runs are called alike" in capsys.readouterr().err
