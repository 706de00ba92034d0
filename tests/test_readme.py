"""The commands of the README, as they stand there, on little data."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import patchmatch.systems  # noqa: F401  registers all classes
from patchmatch.core.registration import constructor_options, subclasses
from patchmatch.parser import GROUPS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: An installed program to test instead of the checkout; .ci/wheel sets it.
PROGRAM = os.environ.get("PATCHMATCH_PROGRAM")
LITTLE = {
    "fit": "--trainer.max_epochs=1 --data.train_pairs=64 --data.eval_pairs=32 --data.canvases=5",
    "fit -c template": ("--trainer.max_epochs=1 --data.batches=2 --data.places=2 --data.views=2"),
    "test": "--data.eval_pairs=32 --data.canvases=5",
    "cows": "--data.frames=3 --data.height=192 --data.width=256",
}


def commands():
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    shell = [block for language, block in blocks if not language]
    return [line for block in shell for line in block.splitlines() if line.strip()]


def test_there_are_commands():
    assert len(commands()) >= 8


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder that looks like a checkout and holds the inputs of the scripts."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "dev", "main_cli", "patchmatch"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder that contains what the placeholders stand for, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    rng = np.random.default_rng(0)
    for name, count in (("FOLDER_OR_VIDEO", 3), ("FOLDER_OF_IMAGES", 6)):
        (folder / name).mkdir()
        for i in range(count):
            picture = rng.integers(0, 256, (60, 70), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"frame_{i}.png"), picture)
    for which in ("image_1", "image_2"):
        (folder / "FOLDER_OF_PAIRS" / which).mkdir(parents=True)
        picture = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "FOLDER_OF_PAIRS" / which / "scene.png"), picture)
    for name, size in (("SCENE", (90, 120, 3)), ("FOLDER_OF_TEMPLATES", (30, 40, 3))):
        (folder / name).mkdir()
        picture = rng.integers(0, 256, size, dtype=np.uint8)
        cv2.imwrite(str(folder / name / "cup.png"), picture)
    for side in ("left", "right"):
        (folder / "FOLDER_OR_TABLE" / side).mkdir(parents=True)
        picture = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "FOLDER_OR_TABLE" / side / "scene.png"), picture)
    weights = ROOT / "patchmatch" / "weights" / "shift_matcher.ckpt"
    (folder / "FILE").write_bytes(weights.read_bytes())
    return folder


@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_of_the_readme_runs(command, checkout, elsewhere):
    words = shlex.split(command.partition("  #")[0])
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE)
        return
    if "benchmark" in command:
        words += ["--help"]
    elif "fit -c template" in command:
        words += LITTLE["fit -c template"].split()
    elif " fit " in command:
        words += LITTLE["fit"].split()
    elif " test " in command:
        words += LITTLE["test"].split()
    elif "cows" in command:
        words += LITTLE["cows"].split()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if words[0] == "python3":
        folder, program = checkout, [sys.executable]
    elif PROGRAM:
        del environment["PYTHONPATH"]
        folder, program = elsewhere, [PROGRAM]
    else:
        folder, program = elsewhere, [sys.executable, "-m", "patchmatch"]
    done = subprocess.run(
        [*program, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_file_that_the_readme_links_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_benchmark_that_needs_no_files_is_run_by_make_bench():
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    bench = re.search(r"^bench:.*\n((?:\t.*\n)+)", rules, flags=re.MULTILINE)
    assert bench is not None
    for path in (ROOT / "dev").glob("benchmark_*.py"):
        needs_files = "required=True" in path.read_text(encoding="utf-8")
        assert (f"dev/{path.name}" in bench[1]) != needs_files


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_options_and_scripts_of_a_page_exist(path):
    page = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page):
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not heading or heading in anchors(target), link
    for script in re.findall(r"\b(?:dev|tests)/[\w/]+\.py", page):
        assert (ROOT / script).is_file(), script
    for group, option in re.findall(r"--(model|data|writer)\.(\w+)", page):
        assert option in {"help", *options(group)}, f"--{group}.{option}"


def anchors(path):
    """The anchors of the headings of a page, as GitHub builds them."""
    headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def options(group):
    """The options of all classes of a group."""
    return {name for kind in subclasses(GROUPS[group]) for name in constructor_options(kind)}


PLACEHOLDER = re.compile(r"\b(TODO|TBD|FIXME|XXX|coming soon|lorem ipsum|to be written)\b", re.I)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_no_page_holds_a_placeholder(path):
    found = PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
    assert found == [], f"{path.name} is not finished"
