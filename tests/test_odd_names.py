"""Names of files that are no UTF-8, as long as a name may be, or in any script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from program_runs import QUIET, one_line, rows
from textures import texture

from patchmatch.cli import main

ROOT = Path(__file__).parents[1]
NAMES = {
    "bytes": "caf\udce9_{}.png",
    "long": "x" * 250 + "{}.png",
    "long_wide": "影" * 83 + "{}.png",
    "markup": "[red]:smile:\x1b[1m_{}.png",
    "japanese": "フレーム_{}.png",
}


def write_frames(folder, pattern, count=3):
    folder.mkdir(parents=True)
    image = texture(90, 140)
    for i in range(count):
        encoded = cv2.imencode(".png", image[:, 2 * i : 2 * i + 120])[1]
        (folder / pattern.format(i)).write_bytes(encoded.tobytes())


@pytest.fixture(params=NAMES)
def pattern(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        write_frames(tmp_path / "in", NAMES[request.param])
    except OSError:
        pytest.skip("the file system does not allow the name")
    return NAMES[request.param]


def test_frames_are_predicted(pattern):
    options = ["--data.predict_dir=in", "--data.gaps=[1,2]", "--writer.formats=[jsonl,flo,npz]"]
    options += ["--writer.report=true", "--writer.output_path=out", *QUIET]
    main(["predict", "-c", "patch_match", *options])
    assert len(list(Path("out/topk_diffs").iterdir())) == 3
    assert len(list(Path("out/fields").iterdir())) == 3
    stems = [Path(pattern.format(i)).stem for i in range(3)]
    lines = Path("out/changes.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["frame1"] for line in lines} <= set(stems)
    written = stems[0].encode("utf-8", "backslashreplace").decode()
    assert {row["frame0"] for row in rows("out/pairs.csv")} >= {written}
    main(["predict", "-c", "patch_match", *options, "--writer.resume=true"])


@pytest.mark.parametrize("config", ["match_sift", "reconstruct"])
def test_pairs_are_matched(pattern, config):
    for name in ("image_1", "image_2"):
        Path("pairs", name).mkdir(parents=True)
    Path("in", pattern.format(0)).rename(Path("pairs/image_1", pattern.format(0)))
    Path("in", pattern.format(1)).rename(Path("pairs/image_2", pattern.format(1)))
    source = "data.pairs" if config == "match_sift" else "data.base_dir"
    main(["predict", "-c", config, f"--{source}=pairs", "--writer.output_path=out", *QUIET])
    (row,) = rows("out/pairs.csv")
    assert row["image0"] == pattern.format(0).encode("utf-8", "backslashreplace").decode()


def test_paths_on_the_command_line_may_be_no_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        write_frames(tmp_path / "in\udce9", "{}.png")
    except OSError:
        pytest.skip("the file system does not allow the name")
    cv2.imwrite("roi.png", np.full((90, 120), 255, np.uint8))
    Path("roi.png").rename("roi\udcff.png")
    options = ["--writer.output_path", "out\udce9", "--writer.report=true", *QUIET]
    frames = ["-c", "patch_match", "--data.predict_dir=in\udce9", "--writer.roi", "roi\udcff.png"]
    main(["predict", *frames, *options])
    assert rows("out\udce9/changes.csv")
    written = Path("out\udce9/pairs.csv").stat().st_mtime_ns
    main(["predict", *frames, *options, "--writer.resume=true"])
    assert Path("out\udce9/pairs.csv").stat().st_mtime_ns == written
    main(
        ["predict", "-c", "match_sift", "--data.pairs", "in\udce9", "--writer.output_path=o\udce9"]
    )
    assert len(rows("o\udce9/pairs.csv")) == 3
    names = {path.name for path in Path().iterdir()}
    assert names == {"in\udce9", "out\udce9", "o\udce9", "roi\udcff.png"}


def test_a_missing_path_that_is_no_utf8_is_named(capsys):
    run = ["predict", "-c", "patch_match", "--data.predict_dir=no\udce9", *QUIET]
    line = one_line(capsys, lambda: main(run))
    assert line == "patchmatch: error: no\\udce9: no such file or folder; check the spelling"


YAML_WORDS = "null ~ #recycle [cam1] {a:b} 20240101 1e3 yes &a *a !x 'a \" 0x10 12:30 .inf @a | >"


@pytest.mark.parametrize("name", [*YAML_WORDS.split(), "Series: 1", "- a", "a #b", "2024-01-01"])
def test_folders_that_yaml_reads_otherwise_are_read_and_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for folder in (name, "decoy"):
        write_frames(tmp_path / folder, "{}.png", 2)
    options = ["--data.predict_dir", name, f"--writer.output_path={name}/out", *QUIET]
    main(["predict", "-c", "patch_match", *options, "--writer.export_box_overlay=false"])
    (row,) = rows(tmp_path / name / "out" / "pairs.csv")
    assert (row["frame0"], row["frame1"]) == ("0", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "decoy"])


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("bytes", "ascii"), ("japanese", "cp1252"), ("japanese", "latin-1"), ("bytes", "cp932")],
)
def test_the_output_fits_any_encoding(tmp_path, name, encoding):
    write_frames(tmp_path / "in", NAMES[name])
    (tmp_path / "in" / NAMES[name].format(9)).write_bytes(b"\x89PNG")
    command = [sys.executable, "-m", "patchmatch", "predict", "-c", "patch_match"]
    done = subprocess.run(
        [*command, "--data.predict_dir=in", *QUIET],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"warning: frame skipped: in" in done.stderr


def test_one_warning_names_the_order_if_it_is_ambiguous(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("in/a", "in/b"):
        write_frames(tmp_path / folder, "-{}.png", 3)
    main(
        ["predict", "-c", "patch_match", "--data.predict_dir=in", "--writer.output_path=o", *QUIET]
    )
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "order" in line]
    assert line.startswith("warning: in/a: the order of the frames is ambiguous: hyphens before")
    assert line.endswith("rename the files (and 1 more folder)")
    frames = [(row["frame0"], row["frame1"]) for row in rows("o/pairs.csv")[:2]]
    assert frames == [("-2", "-1"), ("-1", "-0")]
