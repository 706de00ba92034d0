import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from patchmatch.io import read_image, write_csv, write_image

SCRIPT = Path(__file__).parents[2] / "dev" / "compare_reconstructions.py"
SIZES = {"width0": 30, "height0": 20, "width1": 30, "height1": 20, "patch_size": 7}


def load_script():
    """Import the script: dev is not a package."""
    spec = importlib.util.spec_from_file_location("compare_reconstructions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def plain(i):
    return np.full((20, 30, 3), (200, 0, 10 * i), np.uint8)


def write_run(folder, psnr, keep=(1, 3), **sizes):
    """Write the files of a run of two pairs; ``psnr`` is that of each iteration of the first."""
    rows = [{"name": name} | SIZES | sizes for name in ("a", "b")]
    write_csv(folder / "pairs.csv", ("name", *SIZES), rows)
    for pair, name in enumerate(("a", "b")):
        history = [
            {"iteration": i + 1, "ssd": 0.1, "psnr": value + 2 * pair, "ssim": "", "seconds": i}
            for i, value in enumerate(psnr)
        ]
        path = folder / "pairs" / name
        write_csv(path / "iterations.csv", ("iteration", *script.METRICS), history)
        for i in keep:
            write_image(path / f"rebuilt_vote_{i}.png", plain(i))
        if keep:
            write_image(path / "rebuilt_vote.png", plain(len(psnr)))
    return folder


def compare(tmp_path, *arguments):
    return script.main([*map(str, arguments), "--output", str(tmp_path / "out")])


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_contains_every_iteration_and_the_mean_over_pairs(tmp_path, capsys):
    runs = write_run(tmp_path / "one", [20, 24, 26]), write_run(tmp_path / "two", [21, 22])
    assert compare(tmp_path, *runs) == 0
    found = rows(tmp_path / "out" / "comparison.csv")
    assert len(found) == 3 * (3 + 2)
    by_key = {(row["run"], row["name"], row["iteration"]): row for row in found}
    assert by_key["one", "b", "2"]["psnr"] == "26"
    assert by_key["one", "mean", "3"]["psnr"] == "27"
    assert by_key["two", "mean", "2"]["psnr"] == "23"
    assert by_key["two", "mean", "2"]["ssim"] == ""
    output = capsys.readouterr().out
    assert "mean over 2 pairs" in output
    assert "27.00" in output
    assert "comparison.png" in output.splitlines()[-1]


def test_the_image_shows_the_kept_iterations_of_each_run(tmp_path):
    longer, shorter = write_run(tmp_path / "one", [20] * 9), write_run(tmp_path / "two", [21] * 4)
    assert compare(tmp_path, longer, shorter, "--iterations", 1, 3, 9) == 0
    image = read_image(tmp_path / "out" / "comparison.png")
    count = {i: (image == (200, 0, 10 * i)).all(axis=2).sum() / (20 * 30) for i in (1, 3, 4, 9)}
    assert count == {
        1: 4,
        3: 4,
        4: 2,
        9: 2,
    }  # of two pairs; 4 is the last iteration of the shorter run


def test_the_final_image_of_a_run_is_shown_once(tmp_path):
    run = write_run(tmp_path / "one", [20, 21])
    assert compare(tmp_path, run, "--iterations", 2, 5, 9) == 0
    image = read_image(tmp_path / "out" / "comparison.png")
    assert (image == (200, 0, 20)).all(axis=2).sum() == 2 * 20 * 30


def test_runs_without_images_are_reported_with_the_option_to_keep_them(tmp_path, capsys):
    runs = write_run(tmp_path / "one", [20], keep=()), write_run(tmp_path / "two", [21])
    assert compare(tmp_path, *runs) == 0
    assert "no images of one: predict with --writer.keep_iterations" in capsys.readouterr().err


def test_an_earlier_comparison_is_kept_without_overwrite(tmp_path, capsys):
    run = write_run(tmp_path / "one", [20])
    assert compare(tmp_path, run) == 0
    assert compare(tmp_path, run) == 2
    assert "already exists; give --overwrite" in capsys.readouterr().err
    assert compare(tmp_path, run, "--overwrite") == 0


def test_labels_name_the_runs(tmp_path):
    run = write_run(tmp_path / "x=y", [20])
    assert compare(tmp_path, f"new way={run}", run) == 0
    assert {row["run"] for row in rows(tmp_path / "out" / "comparison.csv")} == {"new way", "x=y"}


def remove_table(folder):
    (folder / "two" / "pairs.csv").unlink()


def replace_pairs(folder):
    write_csv(folder / "two" / "pairs.csv", ("name", *SIZES), [{"name": "c"} | SIZES])


def change_size(folder):
    write_run(folder / "two", [21], height0=40)


def corrupt_history(folder):
    text = "iteration,ssd,psnr,ssim,seconds\n1,x,2,3,4\n"
    (folder / "two" / "pairs" / "a" / "iterations.csv").write_text(text)


def remove_history(folder):
    (folder / "two" / "pairs" / "a" / "iterations.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_table, "two: not a finished run of reconstructions"),
        (replace_pairs, "no pair in common with the other runs"),
        (change_size, "two: height0 of a is 40, and 20 in"),
        (corrupt_history, "iterations.csv: invalid value"),
        (remove_history, "iterations.csv: no such file"),
    ],
)
def test_runs_that_cannot_be_compared_end_in_one_line_and_exit_code_2(
    tmp_path, capsys, spoil, message
):
    runs = write_run(tmp_path / "one", [20]), write_run(tmp_path / "two", [21])
    spoil(tmp_path)
    assert compare(tmp_path, *runs) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_runs_with_the_same_label_fail(tmp_path, capsys):
    run = write_run(tmp_path / "one", [20])
    assert compare(tmp_path, run, run) == 2
    assert "labels of runs must differ" in capsys.readouterr().err
