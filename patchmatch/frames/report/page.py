"""The page: a template, its style, its script, and the data of a run in it."""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from patchmatch.frames.report.columns import LAYERS, Pairs, Row, encode, read_changes
from patchmatch.frames.report.thumbnails import Shrinker
from patchmatch.io import atomic_path

BUDGET = 60_000_000  # bytes: what browsers open at once
SCRIPTS = ("data.js", "frame.js", "timeline.js", "charts.js", "details.js", "main.js")
SHOTS_AT_ONCE = 64  # pictures that the page splits apart together
_ROWS_PART = 0.25  # of the budget may be rows
_BYTES_A_ROW = 32  # in base64


def write_report(
    path: str | Path,
    rows: Iterable[Row],
    pairs: Iterable[Row],
    thumbnails: Callable[[int], bytes | None],
    summary: Mapping[str, Any],
    budget: int = BUDGET,
) -> None:
    """Write a page that shows a run, atomically.

    It links to changes.csv, pairs.csv and summary.json, which should lie beside it. Where the run
    is too large for the budget, frames are shrunk and of each pair only the first rows are kept;
    the page says so.

    Args:
        path: The .html to write.
        rows: As in changes.csv, in the order of the pairs, as many for each as its ``boxes`` say.
        pairs: As in pairs.csv, with ``height`` and ``width`` of the frames in pixels; and
            ``picture``, where a picture lies as a path from the page, if there is one.
        thumbnails: Gives the JPEG of the later frame of a pair by the pair's index, as
            ``thumbnail`` makes it; None where there is none.
        summary: What stands in summary.json.
        budget: How many bytes the page may have, 1,000,000 at least. Names and places of pictures
            are written whatever their length.

    Raises:
        ValueError: If the rows are not those of the pairs, or the budget is too small.
        InputError: If the page cannot be written.
    """
    if budget < 1_000_000:
        raise ValueError(f"budget must be at least 1,000,000 bytes, got {budget}")
    known = Pairs(pairs)
    most = known.most_rows(int(budget * _ROWS_PART) // _BYTES_A_ROW)
    changes = read_changes(rows, known, most)
    data: dict[str, Any] = {
        "layers": LAYERS,
        "names": known.names,
        "pictures": known.pictures if any(known.pictures) else [],
        "shotsAtOnce": SHOTS_AT_ONCE,
        "most": most,
        "pairs": {name: encode(column) for name, column in (known.counts | known.measures).items()},
        "rows": {name: encode(column) for name, column in changes.items()},
        "summary": _plain(summary),
    }
    head, middle, tail = _template()
    taken = sum(map(len, (head, middle, tail, _inert(data))))
    marks = 4 * len(known.shots) + 64 * (len(known.shots) // SHOTS_AT_ONCE + 16)
    room = max(0, (budget - taken - marks) * 3 // 4)  # base64 makes four bytes of three
    shots = Shrinker(thumbnails, known.shots, room)
    data["note"] = shots.note
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines((head, _inert(data), middle))
        file.writelines(_chunks(shots))
        file.write(tail)


def _template() -> tuple[bytes, bytes, bytes]:
    """Return what comes before the data, between data and pictures, and after them."""
    style = _asset("page.css")
    scripts = "\n".join(_asset(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}}})();\n'
    # Nothing may be loaded, and no other script or style may run than these two.
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = _asset("page.html")
    for name, content in (("policy", policy), ("style", style), ("script", script)):
        page = page.replace(f"{{{{{name}}}}}", content)
    head, rest = page.split("{{data}}")
    middle, tail = rest.split("{{shots}}")
    return head.encode(), middle.encode(), tail.encode()


def _asset(name: str) -> str:
    """Return a file of the page; reading it as text undoes the line ends of Windows."""
    return files("patchmatch.frames.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _inert(data: object) -> bytes:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("ascii")


def _plain(value: object) -> object:
    """Return what JSON can say: numbers beyond it, and whatever else there is, become texts."""
    if isinstance(value, Mapping):
        return {str(name): _plain(content) for name, content in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _chunks(shots: Iterable[bytes]) -> Iterator[bytes]:
    """Yield elements of many pictures, one a line, for the page to decode when they are shown."""
    rest, number = iter(shots), 0
    while lines := [base64.b64encode(shot) for shot in islice(rest, SHOTS_AT_ONCE)]:
        yield b'<script type="text/plain" id="shots-%d">' % number
        yield b"\n".join(lines) + b"</script>\n"
        number += 1
