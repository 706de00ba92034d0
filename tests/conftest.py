import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as patchmatch does, but torch comes first

import pytest
import torch

if os.environ.get("PATCHMATCH_CHECK_SHAPES", "1") == "1":
    # Must run before patchmatch.ops is first imported; every jaxtyping annotation is then checked.
    from jaxtyping import install_import_hook

    install_import_hook(
        ["patchmatch.ops", "patchmatch.nets", "patchmatch.metrics"], "beartype.beartype"
    )

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _bare_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns when it is called from a program with arguments of its own."""
    monkeypatch.setattr(sys, "argv", ["patchmatch"])
