"""Every file that a run writes is planned, so that it is checked before the run, and listed."""

import json
from pathlib import Path

import numpy as np
import pytest
from program_runs import QUIET, write
from textures import texture

from patchmatch.cli import main
from patchmatch.writing.run_folder import RunFolder

LONG = "x" * 250  # cut where it becomes part of a file name
FRAMES = [
    *("predict", "-c", "patch_match", "--data.predict_dir=in/frames"),
    *("--writer.formats=[jsonl,flo,npz]", "--writer.report=true", "--writer.video=true"),
]
MATCHES = [
    *("predict", "-c", "match_sift", "--data.pairs=in", "--model.epipolar=fundamental"),
    *("--writer.colmap=true", "--writer.hloc=true"),
]
RECONSTRUCTIONS = [
    *("predict", "-c", "reconstruct", "--data.base_dir=in", "--model.preset=plain"),
    *("--model.iterations=2", "--model.both_ways=true", "--writer.keep_iterations=[1]"),
]
TEMPLATES = [
    *("predict", "-c", "template", "--data.scene=in/frames", "--data.templates=in/templates"),
    "--model.features=handcrafted",
]


@pytest.fixture(autouse=True)
def _inputs(tmp_path, monkeypatch):
    """Frames, pairs with a flat scene and with depth, and templates, of which one is missing."""
    monkeypatch.chdir(tmp_path)
    image = texture(120, 200)
    for i, name in enumerate(("a", LONG)):
        write(Path("in/frames", f"{name}.png"), image[:, 2 * i : 2 * i + 160])
    flat = (image[:, :160], image[:, 20:180])
    depth = [texture(120, 160, 7) for _ in (0, 1)]
    for y in range(0, 114, 38):
        for x in range(0, 152, 38):
            patch, shift = texture(36, 28, 20 + y + x), 1 + (y + 3 * x) % 11
            depth[0][y : y + 36, x : x + 28] = patch
            depth[1][y : y + 36, x + shift : x + shift + 28] = patch
    for name, pair in (("flat", flat), ("depth", depth)):
        for folder, view in zip(("image_1", "image_2"), pair, strict=True):
            write(Path("in", folder, f"{name}.png"), np.ascontiguousarray(view))
    write(Path("in/templates/there.png"), image[30:80, 40:100])
    write(Path("in/templates/missing.png"), texture(40, 50, 99))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (FRAMES, {"report.html", "annotated.mp4", "changes.jsonl"}),
        (MATCHES, {"pairs/flat/panorama.png", "pairs/depth/epipolar_lines.png"}),
        (RECONSTRUCTIONS, {"pairs/flat/rebuilt_vote_1.png", "pairs/depth/consistent.png"}),
        (TEMPLATES, {"not_found.csv", "scenes/a/result.png"}),
    ],
)
def test_all_files_of_a_run_are_planned_and_listed(monkeypatch, command, expected):
    planned = set()
    real = RunFolder.open

    def record(self, settings, names, *others):
        planned.update(names)
        real(self, settings, sorted(planned), *others)

    monkeypatch.setattr(RunFolder, "open", record)
    main([*command, "--writer.output_path=out", *QUIET])
    files = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.*")}
    assert expected <= files <= planned
    listed = {file["path"] for file in json.loads(Path("out/summary.json").read_text())["files"]}
    assert listed == files - {"summary.json"}
