import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as patchmatch does, but torch comes first

import pytest
import torch

ROOT = Path(__file__).parents[1]


def shaped_modules() -> list[str]:
    """Return the tensor functions and networks whose signatures give shapes, to check each call."""
    files = [p for p in (ROOT / "patchmatch").rglob("*.py") if not p.stem.endswith("matcher")]
    shaped = [path for path in files if "from jaxtyping import" in path.read_text("utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in shaped]


if os.environ.get("PATCHMATCH_CHECK_SHAPES", "1") == "1":
    # Must run before these modules are first imported.
    from jaxtyping import install_import_hook

    install_import_hook(shaped_modules(), "beartype.beartype")

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _bare_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns when it is called from a program with arguments of its own."""
    monkeypatch.setattr(sys, "argv", ["patchmatch"])
