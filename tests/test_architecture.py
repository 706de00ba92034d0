"""The doors of the house: which room may import which. docs/architecture.md has the picture."""

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

# A room is a module or a folder of the package; behind each are the rooms that it may import. It
# may always import itself. "frames.results" is a door to that one module, not to the whole room.
SHARED = {"core", "io", "draw", "ops", "synthetic", "writing"}
SYSTEMS = {"shift", "motion", "frames", "nnf", "objects", "pairs", "stereo", "templates"}
#: Keypoint matches and geometry, which rectification uses.
STEREO_FROM_PAIRS = {"pairs.keypoints", "pairs.matching", "pairs.geometry"}
DOORS = {
    "__init__": {"core.process", "public", "version"},
    "__main__": {
        *("arguments", "cli", "help"),
        *("core.errors", "core.messages", "core.process"),
    },
    "arguments": {"core.configs", "core.errors"},
    "help": {"arguments", "core.configs", "version"},
    "parser": {"core", "writing"},
    "cli": {"arguments", "parser", "systems", "core", "writing"},
    "evaluate": {"pairs", "frames", "objects", "stereo", "templates", "core", "io"},
    "systems": SYSTEMS,
    "public": {*SYSTEMS, *SHARED},
    # Systems use the shared rooms; seven doors lead from one system to another.
    "shift": {*SHARED, "frames.results"},
    "motion": {*SHARED, "frames.results"},
    "objects": {*SHARED, "motion.matcher"},
    "pairs": {*SHARED, "nnf"},
    "frames": SHARED,
    "nnf": SHARED,
    "stereo": {*SHARED, "nnf", *STEREO_FROM_PAIRS},
    "templates": {*SHARED, "pairs.sift", "pairs.verdict"},
    # Shared rooms import no system.
    "writing": {"core", "io", "version"},
    "synthetic": {"core", "io", "ops"},
    "draw": {"core.errors", "io"},
    "core": {"io"},
    "io": {"core.errors"},
    "ops": set(),
    "version": set(),
}

# The layers of a system by the names of its files, and the layers that a file must not import.
LAYERS = {
    "ops": {"net", "matcher", "data", "writer", "evaluation"},
    "net": {"matcher", "data", "writer", "evaluation"},
    "matcher": {"writer", "evaluation"},
    "data": {"net", "matcher", "writer"},
    "writer": {"net", "matcher"},
    "evaluation": {"net", "matcher"},
    "results": {"ops", "net", "matcher", "data", "writer", "evaluation"},
}

LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
TORCH = {"torch", "torchvision", "torchmetrics", "kornia", *LIGHTNING}

# Third-party libraries: the only ones that a room may import, and those that it must not.
ONLY = {"ops": {"torch", "jaxtyping"}, "version": set()}
NEVER = dict.fromkeys(("__init__", "__main__", "arguments", "help", "io"), TORCH)

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


def module_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_behind(name: str, package: Path) -> str:
    """Return the module of the package that an import of ``name`` loads."""
    parts = name.split(".")
    while len(parts) > 1:
        path = package.parent.joinpath(*parts)
        if path.is_dir() or path.with_suffix(".py").is_file():
            break
        parts.pop()  # the last part is defined in the module
    return ".".join(parts)


def trees(package: Path) -> Iterator[tuple[str, str, list[tuple[int, str]]]]:
    """Yield (path, module, imports) of every file; an import is (line, absolute name)."""
    for path in sorted(package.rglob("*.py")):
        module = module_of(path, package)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = list(imported(tree, module, path.name == "__init__.py"))
        yield path.relative_to(package.parent).as_posix(), module, found


def wrong_imports(package: Path) -> list[str]:
    """Return a line for every import that no door allows, and for every room without doors."""
    faults = []
    for place, module, found in trees(package):
        room = room_of(module)
        if room not in DOORS:
            faults.append(f"{place}: {room} is not a room: add it to DOORS")
            continue
        for line, name in found:
            library = name.partition(".")[0]
            if library != package.name:
                if library in NEVER.get(room, ()) or (
                    room in ONLY and library not in ONLY[room] | sys.stdlib_module_names
                ):
                    faults.append(f"{place}:{line}: {room} must not import {library}")
                continue
            target = module_behind(name, package)
            inner = target.partition(".")[2] or "__init__"
            target_room = room_of(target)
            if target_room != room:
                if not {target_room, inner} & DOORS[room]:
                    faults.append(f"{place}:{line}: {room} must not import {inner}")
                elif place.endswith("/__init__.py") and place.count("/") > 1:
                    faults.append(f"{place}:{line}: {room} must not re-export {inner}")
            elif room in SYSTEMS:
                layer, used = (m.rpartition(".")[2] for m in (module, target))
                if used in LAYERS.get(layer, ()):
                    faults.append(f"{place}:{line}: {layer} must not import {used}")
    return faults


def cycles(package: Path) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or by way of others."""
    graph: dict[str, set[str]] = {}
    for _, module, found in trees(package):
        names = (name for _, name in found if name.partition(".")[0] == package.name)
        graph[module] = {module_behind(name, package) for name in names} - {module}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        stack = [start]
        while stack:
            stack += (new := graph.get(stack.pop(), set()) - seen)
            seen |= new
        return seen

    reach = {module: reached(module) for module in graph}
    return sorted(
        {
            tuple(sorted(other for other in reach[module] if module in reach.get(other, ())))
            for module in graph
            if module in reach[module]
        }
    )


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


def test_every_import_goes_through_a_door():
    assert wrong_imports(PACKAGE) == []


def test_no_two_modules_import_each_other():
    assert cycles(PACKAGE) == []


def test_every_room_is_described_in_the_architecture_page():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room for room in DOORS if not room.startswith("_")}
    assert {room for room in rooms if f"`{room}`" not in page} == set()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("ops/warp.py", "from patchmatch.shift.net import N", "ops must not import shift.net"),
        ("ops/warp.py", "import patchmatch.core.clips as c", "ops must not import core.clips"),
        ("ops/warp.py", "import numpy as np", "ops must not import numpy"),
        ("ops/warp.py", "def f():\n    from patchmatch import cli", "ops must not import cli"),
        ("ops/deep/er.py", "from ...io.frames import read", "ops must not import io.frames"),
        ("ops/__init__.py", "from ..io import frames", "ops must not import io.frames"),
        ("ops/warp.py", "from patchmatch import match_images", "ops must not import __init__"),
        (
            "core/data.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import patchmatch.shift.net",
            "core must not import shift.net",
        ),
        ("io/frames.py", "from torch import Tensor", "io must not import torch"),
        ("io/frames.py", "import pytorch_lightning", "io must not import pytorch_lightning"),
        ("io/frames.py", "from patchmatch.core.clips import C", "io must not import core.clips"),
        ("draw/boxes.py", "from patchmatch.frames.results import F", "must not import frames.res"),
        ("writing/w.py", "from patchmatch.frames.results import F", "must not import frames.res"),
        ("shift/matcher.py", "import patchmatch.motion.net", "shift must not import motion.net"),
        ("shift/matcher.py", "import patchmatch.frames.data", "shift must not import frames.data"),
        ("frames/data.py", "import patchmatch.shift.data", "frames must not import shift.data"),
        ("nnf/net.py", "from patchmatch.pairs.net import N", "nnf must not import pairs.net"),
        ("templates/data.py", "import patchmatch.nnf.net", "templates must not import nnf.net"),
        ("shift/net.py", "import patchmatch.shift.matcher", "net must not import matcher"),
        ("shift/ops.py", "from .net import ShiftNet", "ops must not import net"),
        ("shift/data.py", "from patchmatch.shift.net import N", "data must not import net"),
        ("frames/writer.py", "from patchmatch.frames import net", "writer must not import net"),
        ("pairs/evaluation.py", "import patchmatch.pairs.matcher", "must not import matcher"),
        ("pairs/__init__.py", "from patchmatch.nnf.net import N", "must not re-export nnf.net"),
        ("public.py", "import patchmatch.cli", "public must not import cli"),
        (
            "public.py",
            "import importlib\nimportlib.import_module('patchmatch.cli')",
            "public must not import cli",
        ),
        ("__init__.py", "import torch", "__init__ must not import torch"),
        ("__main__.py", "import torch", "__main__ must not import torch"),
        ("utils.py", "", "utils is not a room"),
    ],
)
def test_an_import_without_a_door_is_found(tmp_path, name, text, fault):
    layers = [f"{s}/{layer}.py" for s in SYSTEMS for layer in ("net", "matcher", "data", "results")]
    rooms = dict.fromkeys(["io/frames.py", "core/clips.py", "cli.py", *layers], "")
    (found,) = wrong_imports(write_tree(tmp_path, {**rooms, name: text}))
    assert fault in found
    assert found.startswith(f"patchmatch/{name}:")


def test_the_doors_are_open(tmp_path):
    package = write_tree(
        tmp_path,
        {
            "__init__.py": "def __getattr__(name):\n    from patchmatch import public",
            "__main__.py": "def main():\n    from patchmatch.cli import main",
            "cli.py": "import sys, torch\nimport patchmatch.systems",
            "systems.py": "import patchmatch.shift.matcher",
            "core/clips.py": "from patchmatch.io.frames import read",
            "core/errors.py": "",
            "io/frames.py": "from patchmatch.core.errors import InputError\nimport cv2",
            "io/__init__.py": "from patchmatch.io.frames import read",
            **dict.fromkeys(("version.py", "public.py", "frames/results.py", "nnf/search.py"), ""),
            "shift/matcher.py": "from ..frames.results import F\nfrom .net import ShiftNet",
            "shift/net.py": "from patchmatch.ops.warp import warp\nfrom torch import nn",
            "pairs/field.py": "from patchmatch.nnf.search import s",
            "ops/warp.py": "import math, torch\nfrom jaxtyping import Float",
        },
    )
    assert wrong_imports(package) == []
    assert cycles(package) == []


def test_a_circle_of_imports_is_found_even_inside_functions(tmp_path):
    package = write_tree(
        tmp_path,
        {
            "motion/net.py": "def f():\n    from patchmatch.motion import compiled",
            "motion/compiled.py": "from patchmatch.motion.steps import s",
            "motion/steps.py": "from .net import N",
            "motion/other.py": "import patchmatch.motion.net",
        },
    )
    circle = ("patchmatch.motion.compiled", "patchmatch.motion.net", "patchmatch.motion.steps")
    assert cycles(package) == [circle]


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
    done = run_without_torch(tmp_path, "-c", "import patchmatch.ops.luma")
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
