"""docs/api.md: every public name, its signature, a working example and the fields of results."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import patchmatch
from patchmatch.frames.results import FrameChanges, PatchMatches
from patchmatch.nnf.results import NearestNeighbourField
from patchmatch.objects.results import FrameObjects
from patchmatch.pairs.results import Matches
from patchmatch.templates.results import Detections

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### `(\w+)(\(.*\))?`$", PAGE, re.MULTILINE)
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_public_name_has_a_section():
    assert sorted(name for name, _ in HEADINGS) == sorted(patchmatch.__all__)


@pytest.mark.parametrize(("name", "parameters"), [h for h in HEADINGS if h[1]])
def test_signatures_agree_with_the_code(name, parameters):
    function = inspect.signature(getattr(patchmatch, name))
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in function.parameters.values()]
    signature = str(inspect.Signature(bare)).replace("'", '"')
    assert parameters == signature


@pytest.mark.parametrize(
    "result", [PatchMatches, FrameChanges, FrameObjects, Matches, NearestNeighbourField, Detections]
)
def test_all_fields_of_results_are_listed(result):
    start = PAGE.index(f"| `{result.__name__}` |")
    table = PAGE[start : PAGE.find("\n\n", start)]
    cells = " ".join(row.split("|")[1] for row in table.splitlines())
    listed = re.findall(r"`(\w+)", cells)
    assert {field.name for field in dataclasses.fields(result)} <= set(listed)


def test_examples_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/api.md", "exec"), namespace)
        printed = capsys.readouterr().out
        for output in re.findall(r"^print\(.*  # (t(?:ensor|orch).*)$", example, re.MULTILINE):
            assert output in printed
