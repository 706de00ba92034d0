import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as patchmatch does, but torch comes first

import pytest
import torch

pytest_plugins = ["report_browser"]

ROOT = Path(__file__).parents[1]


def shaped_modules() -> list[str]:
    """Return the tensor functions and networks whose signatures give shapes, to check each call.

    Without matchers: save_hyperparameters does not see the arguments of a checked constructor.
    """
    files = [p for p in (ROOT / "patchmatch").rglob("*.py") if not p.stem.endswith("matcher")]
    texts = {path: path.read_text("utf-8") for path in files}
    shaped = [
        path
        for path, text in texts.items()
        if "from jaxtyping import" in text and not re.search(r"^class \w+Matcher\(", text, re.M)
    ]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in shaped]


if os.environ.get("PATCHMATCH_CHECK_SHAPES", "1") == "1":
    # Must run before these modules are first imported.
    from jaxtyping import install_import_hook

    install_import_hook(shaped_modules(), "beartype.beartype")

torch.set_num_threads(2)

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", choices=("cpu", "cuda", "all"), default="all",
        help="devices of tests with a device fixture; all: the CPU, and CUDA where available",
    )  # fmt: skip
    parser.addoption(
        "--dtype", choices=(*DTYPES, "all"), default="float32",
        help="dtypes of the tests with a dtype fixture; all: float32 and float64",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise the fixtures ``device`` and ``dtype`` by the options of the same names."""
    own = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    names = {"device", "dtype"} & set(metafunc.fixturenames) - own
    if "device" in names:
        chosen = metafunc.config.getoption("--device")
        available = ["cpu"] + ["cuda"] * torch.cuda.is_available()
        devices = available if chosen == "all" else [chosen]
        metafunc.parametrize("device", [torch.device(name) for name in devices], ids=devices)
    if "dtype" in names:
        chosen = metafunc.config.getoption("--dtype")
        dtypes = ["float32", "float64"] if chosen == "all" else [chosen]
        metafunc.parametrize("dtype", [DTYPES[name] for name in dtypes], ids=dtypes)


@pytest.fixture(autouse=True)
def _bare_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns when it is called from a program with arguments of its own."""
    monkeypatch.setattr(sys, "argv", ["patchmatch"])


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads of torch by a call; the former one returns after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
