"""Assembly of the report page from template, style, script and data."""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from patchmatch.frames.report.columns import LAYERS, PairColumns, Row, change_columns, encode
from patchmatch.frames.report.thumbnails import ResizedThumbnails
from patchmatch.io import atomic_path

MAX_BYTES = 60_000_000  # browsers open pages up to this size without delay
SCRIPTS = ("data.js", "frame.js", "timeline.js", "charts.js", "details.js", "main.js")
THUMBNAILS_PER_ELEMENT = 64  # the page splits the text of one element at once
_ROW_SHARE = 0.25  # maximum share of the page for the rows
_BYTES_PER_ROW = 32  # in base64


def write_report(
    path: str | Path,
    rows: Iterable[Row],
    pairs: Iterable[Row],
    thumbnails: Callable[[int], bytes | None],
    summary: Mapping[str, Any],
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the report of a run atomically.

    The page links to changes.csv, pairs.csv and summary.json in the same folder. If the run
    exceeds the size limit, thumbnails are downsized and only the first rows of each pair are kept;
    the page says so.

    Args:
        path: The .html to write.
        rows: Rows of changes.csv in the order of the pairs; the number of rows of each pair is its
            ``boxes``. Values may be numbers or text, None or "" if unknown.
        pairs: Rows of pairs.csv with ``height`` and ``width`` of the frames in pixels and
            optionally ``picture``, the path of the full image relative to the page, with "/".
        thumbnails: Returns the JPEG of the later frame of a pair by the index of the pair, see
            ``thumbnail``; None without one. It is called several times in any order.
        summary: Content of summary.json.
        max_bytes: Maximum size of the page, at least 1,000,000. Names and image paths are always
            written in full.

    Raises:
        ValueError: If the rows do not belong to the pairs, or ``max_bytes`` is too small.
        InputError: If the page cannot be written.
    """
    if max_bytes < 1_000_000:
        raise ValueError(f"max_bytes must be at least 1,000,000, got {max_bytes}")
    pair_columns = PairColumns(pairs)
    max_rows = pair_columns.max_rows_per_pair(int(max_bytes * _ROW_SHARE) // _BYTES_PER_ROW)
    columns = change_columns(rows, pair_columns, max_rows)
    numeric = pair_columns.counts | pair_columns.measures
    data: dict[str, Any] = {
        "layers": LAYERS,
        "names": pair_columns.names,
        "images": pair_columns.images if any(pair_columns.images) else [],
        "thumbnailsPerElement": THUMBNAILS_PER_ELEMENT,
        "maxRows": max_rows,
        "pairs": {name: encode(column) for name, column in numeric.items()},
        "rows": {name: encode(column) for name, column in columns.items()},
        "summary": _jsonable(summary),
    }
    head, middle, tail = _template()
    used = sum(map(len, (head, middle, tail, _script_json(data))))
    count = len(pair_columns.thumbnails)
    markup = 4 * count + 64 * (count // THUMBNAILS_PER_ELEMENT + 16)
    available = max(0, (max_bytes - used - markup) * 3 // 4)  # base64 turns 3 bytes into 4
    resized = ResizedThumbnails(thumbnails, pair_columns.thumbnails, available)
    data["note"] = resized.note
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines((head, _script_json(data), middle))
        file.writelines(_elements(resized))
        file.write(tail)


def _template() -> tuple[bytes, bytes, bytes]:
    """Return the page before the data, between data and thumbnails, and after them."""
    style = _asset("page.css")
    scripts = "\n".join(_asset(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}}})();\n'
    # The policy forbids loading anything, and any other script or style.
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = _asset("page.html")
    for name, content in (("policy", policy), ("style", style), ("script", script)):
        page = page.replace(f"{{{{{name}}}}}", content)
    head, rest = page.split("{{data}}")
    middle, tail = rest.split("{{thumbnails}}")
    return head.encode(), middle.encode(), tail.encode()


def _asset(name: str) -> str:
    """Return a file of the page as text, with normalised line ends."""
    return files("patchmatch.frames.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _script_json(data: object) -> bytes:
    """Return JSON for a script element, with "<" escaped so that it cannot end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("ascii")


def _jsonable(value: object) -> object:
    """Convert a value to JSON types; non-finite floats and unknown types become strings."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(content) for name, content in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _elements(thumbnails: Iterable[bytes]) -> Iterator[bytes]:
    """Yield script elements with one base64 thumbnail per line; the page decodes them on demand."""
    remaining, number = iter(thumbnails), 0
    while lines := [base64.b64encode(jpeg) for jpeg in islice(remaining, THUMBNAILS_PER_ELEMENT)]:
        yield b'<script type="text/plain" id="thumbnails-%d">' % number
        yield b"\n".join(lines) + b"</script>\n"
        number += 1
