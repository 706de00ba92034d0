"""The tests that docs/reliability.md names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(
    set(re.findall(r"`(test[\w/.]+)`", (ROOT / "docs" / "reliability.md").read_text("utf-8")))
)


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name):
    if name.endswith(".py"):
        assert (ROOT / name).is_file()
    else:
        texts = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
        assert any(f"def {name}(" in text for text in texts)
