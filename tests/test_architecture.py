"""The doors of the house: which room may import which. docs: CONTRIBUTING.md, "Rooms and doors"."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "patchmatch"

# A room is a module or a folder of the package. Behind each stand the rooms it may import; itself
# it always may. "data.clips" opens that one module, not the room around it.
DOORS = {
    "__init__": {"public", "version"},
    "__main__": {"__init__", "cli", "errors", "version"},
    "cli": {
        *("public", "callbacks", "matchers", "data", "evaluation", "metrics", "nets", "draw"),
        *("checkpoints", "ops", "io", "results", "errors", "version"),
    },
    "public": {
        *("callbacks", "matchers", "data", "evaluation", "metrics", "nets", "draw"),
        *("checkpoints", "ops", "io", "results", "errors", "version"),
    },
    "callbacks": {
        *("data.clips", "data.image_pairs", "data.template_scenes"),
        *("draw", "io", "results", "errors", "version"),
    },
    "data": {"draw", "ops", "io", "results", "errors"},
    "matchers": {
        "data.base",
        "data.clips",
        "data.image_pairs",
        "data.keypoint_patches",
        "data.moving_digits",
        "data.pairs",
        "data.places",
        "data.warped_images",
        "data.warped_pairs",
        "evaluation.geometry",
        "data.template_scenes",
        "metrics",
        "nets",
        "ops",
        "results",
        "errors",
    },
    "evaluation": {"metrics", "draw", "ops", "io", "results", "errors"},
    "metrics": {"ops", "results", "errors"},
    "nets": {"checkpoints", "kernels", "ops", "errors"},
    "draw": {"io", "results", "errors"},
    "checkpoints": {"errors"},
    "io": {"errors"},
    "results": {"errors"},
    "ops": set(),
    "kernels": set(),
    "errors": set(),
    "version": set(),
}

LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
TORCH = {"torch", "torchvision", "torchmetrics", "kornia", *LIGHTNING}

# What other people wrote: the only libraries of a room beside Python's own, or those it must not.
ONLY = {
    "ops": {"torch", "jaxtyping"},
    "kernels": {"llvmlite", "numba", "numpy", "torch"},
    "errors": set(),
    "version": set(),
}
NEVER = {"__init__": TORCH, "__main__": TORCH, "io": TORCH, "nets": LIGHTNING, "metrics": LIGHTNING}

MACHINE_PATH = re.compile(
    r"(?<![\w.~>}/-])/(?:home|root|srv|Users|work|workspace)/|\b[A-Z]:\\Users\\"
)
LONGEST = 300  # lines of a file in the package


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute name) of every import, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            base = parents[: len(parents) - node.level + is_package] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def room_of(name: str) -> str:
    return name.partition(".")[2].partition(".")[0] or "__init__"


def room_behind(name: str, package: Path) -> tuple[str, str]:
    """Return the room that an import of ours opens, and the module within the package."""
    parts = name.split(".")[1:]
    while parts:
        path = package.joinpath(*parts)
        if path.is_dir() or path.with_suffix(".py").is_file():
            return parts[0], ".".join(parts)
        parts.pop()  # the last part is what the module defines
    return "__init__", "__init__"


def wrong_arrows(package: Path) -> list[str]:
    """Return a line for every import that no door allows, and for every room without doors."""
    faults = []
    for path in sorted(package.rglob("*.py")):
        is_package = path.name == "__init__.py"
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if is_package else parts)
        room = room_of(module)
        place = path.relative_to(package.parent).as_posix()
        if room not in DOORS:
            faults.append(f"{place}: {room} is no room: give it doors in {Path(__file__).name}")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, name in imported(tree, module, is_package):
            library = name.partition(".")[0]
            if library == package.name:
                target, inner = room_behind(name, package)
                if target != room and not {target, inner} & DOORS[room]:
                    faults.append(f"{place}:{line}: {room} must not import {inner}")
            elif library in NEVER.get(room, ()) or (
                room in ONLY and library not in ONLY[room] | sys.stdlib_module_names
            ):
                faults.append(f"{place}:{line}: {room} must not import {library}")
    return faults


def tracked_files() -> list[Path]:
    # The owner of a checkout may be another user than the one who runs the tests.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout of git")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def write_tree(root: Path, files: dict[str, str]) -> Path:
    package = root / "patchmatch"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def run_without_torch(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the import of torch, Lightning or jsonargparse ends the program."""
    for name in ("torch", "pytorch_lightning", "jsonargparse"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')\n")
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_imports_point_down_only():
    assert wrong_arrows(PACKAGE) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("ops/warp.py", "from patchmatch.nets import ShiftNet", "ops must not import nets"),
        ("ops/warp.py", "import patchmatch.results as r", "ops must not import results"),
        ("ops/warp.py", "import numpy as np", "ops must not import numpy"),
        ("ops/warp.py", "def f():\n    from patchmatch import cli", "ops must not import cli"),
        ("ops/deep/er.py", "from ...io.frames import read", "ops must not import io.frames"),
        ("ops/__init__.py", "from ..io import frames", "ops must not import io.frames"),
        ("ops/__init__.py", "from .. import cli", "ops must not import cli"),
        ("ops/warp.py", "from patchmatch import match_images", "ops must not import __init__"),
        (
            "nets/shift.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import patchmatch.matchers",
            "nets must not import matchers",
        ),
        ("nets/shift.py", "import pytorch_lightning as pl", "nets must not import pytorch_light"),
        ("nets/shift.py", "from lightning import pytorch", "nets must not import lightning"),
        ("io/frames.py", "from torch import Tensor", "io must not import torch"),
        ("io/frames.py", "import pytorch_lightning", "io must not import pytorch_lightning"),
        ("matchers/shift.py", "import patchmatch.io", "matchers must not import io"),
        ("matchers/shift.py", "from patchmatch import draw", "matchers must not import draw"),
        ("matchers/shift.py", "from ..callbacks import x", "matchers must not import callbacks"),
        ("matchers/shift.py", "import patchmatch.data", "matchers must not import data"),
        ("matchers/shift.py", "from patchmatch.data import D", "matchers must not import data"),
        ("callbacks/boxes.py", "from patchmatch.nets import N", "callbacks must not import nets"),
        ("callbacks/boxes.py", "import patchmatch.matchers", "callbacks must not import matchers"),
        ("callbacks/b.py", "from patchmatch.data.pairs import P", "must not import data.pairs"),
        ("data/frames.py", "import patchmatch.matchers", "data must not import matchers"),
        ("data/frames.py", "import patchmatch.nets", "data must not import nets"),
        ("data/frames.py", "import patchmatch.callbacks", "data must not import callbacks"),
        ("evaluation/table.py", "import patchmatch.matchers", "must not import matchers"),
        ("evaluation/table.py", "import patchmatch.nets", "evaluation must not import nets"),
        ("draw.py", "import patchmatch.callbacks", "draw must not import callbacks"),
        ("errors.py", "import patchmatch.io", "errors must not import io"),
        ("public.py", "import patchmatch.cli", "public must not import cli"),
        (
            "public.py",
            "import importlib\nimportlib.import_module('patchmatch.cli')",
            "public must not import cli",
        ),
        ("__init__.py", "import torch", "__init__ must not import torch"),
        ("__main__.py", "import torch", "__main__ must not import torch"),
        ("utils.py", "", "utils is no room"),
    ],
)
def test_an_arrow_that_points_up_is_found(tmp_path, name, text, fault):
    rooms = {
        "io/frames.py": "",
        "data/pairs.py": "",
        "cli.py": "",
        **dict.fromkeys(("draw.py", "results.py"), ""),
        **{f"{r}/__init__.py": "" for r in ("nets", "matchers", "callbacks", "data", "io")},
    }
    (found,) = wrong_arrows(write_tree(tmp_path, {**rooms, name: text}))
    assert fault in found
    assert found.startswith(f"patchmatch/{name}:")


def test_an_arrow_that_points_down_is_free(tmp_path):
    package = write_tree(
        tmp_path,
        {
            "__init__.py": "def __getattr__(name):\n    from patchmatch import public",
            "__main__.py": "from patchmatch.version import __version__",
            "cli.py": "import sys, torch\nfrom patchmatch import callbacks, data, matchers",
            "callbacks/boxes.py": "import torch\nfrom patchmatch.data.clips import Clip",
            "data/clips.py": "from patchmatch.io import read_image",
            "io/__init__.py": "from patchmatch.errors import InputError\nimport cv2",
            **dict.fromkeys(("errors.py", "version.py", "public.py"), ""),
            "matchers/shift.py": "from ..nets.shift import ShiftNet\nfrom .base import Matcher",
            "matchers/base.py": "import pytorch_lightning\nfrom patchmatch.data.clips import Clip",
            "nets/shift.py": "from patchmatch import ops\nfrom torch import nn",
            "ops/__init__.py": "from patchmatch.ops.warp import warp\nfrom . import warp",
            "ops/warp.py": "import math, torch\nfrom jaxtyping import Float",
        },
    )
    assert wrong_arrows(package) == []


def test_every_folder_with_code_is_installed():
    bare = [p.parent for p in PACKAGE.rglob("*.py") if not (p.parent / "__init__.py").is_file()]
    assert sorted({folder.relative_to(ROOT).as_posix() for folder in bare}) == []


def test_import_patchmatch_leaves_torch_alone(tmp_path):
    done = run_without_torch(tmp_path, "-c", "import patchmatch; print(patchmatch.__version__)")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_leave_torch_alone(tmp_path, option):
    done = run_without_torch(tmp_path, "-m", "patchmatch", option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "patchmatch" in done.stdout


def test_torch_would_have_been_noticed(tmp_path):
    done = run_without_torch(tmp_path, "-c", "import patchmatch.ops")
    assert done.returncode == 1
    assert "torch was imported" in done.stderr


def test_no_file_is_too_long_to_read():
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert [f"{p.relative_to(ROOT)}: {n}" for p, n in lines.items() if n > LONGEST] == []


def test_nothing_is_called_utils():
    assert [
        p.relative_to(ROOT) for p in tracked_files() if "utils" in (p.stem, p.parent.name)
    ] == []


def test_no_tracked_text_names_a_folder_of_one_machine():
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:  # not a text
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATH.search(line) and path != Path(__file__):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("cd /home/anna/patchmatch", True),
        ('open("/root/data")', True),
        ("/Users/anna", True),
        ('Path("/{}/data")'.format("work"), True),
        (r"C:\Users\anna", True),
        ("https://example.org/home/page", False),
        ("~/home/x and ./root/x and data/root/x and $HOME/root/", False),
        ("<folder>/home/", False),
    ],
)
def test_a_folder_of_one_machine_is_known_by_its_start(line, is_one):
    assert bool(MACHINE_PATH.search(line)) is is_one
