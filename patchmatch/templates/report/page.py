"""The report of template matching: the data of its page."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchmatch.writing.chunks import Row, RunChunks
from patchmatch.writing.report.encoding import encode, encode_colors
from patchmatch.writing.report.page import MAX_BYTES, write_page
from patchmatch.writing.report.thumbnails import read_thumbnail, stored_thumbnails

PACKAGE = "patchmatch.templates.report"


def write_report(
    path: Path,
    chunks: RunChunks,
    scenes: str,
    colors: Mapping[str, Sequence[int]],
    summary: Mapping[str, Any],
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the report of a run atomically.

    Args:
        path: The .html to write.
        chunks: The run. Its tables boxes and not_found, and ``scenes``.
        scenes: Name of the rows of the scenes, with ``name``, ``time``, ``picture``, the path of
            the full picture relative to the page, and ``thumbnail``.
        colors: Colour of each template by its name, RGB from 0 to 255.
        summary: Content of summary.json.
        max_bytes: Maximum size of the page.

    Raises:
        InputError: If the page cannot be written.
    """
    thumbnails = stored_thumbnails(chunks, scenes)
    rows = list(chunks.rows(scenes))
    places = (
        {str(row["name"]): index for index, row in enumerate(rows)},
        {name: index for index, name in enumerate(colors)},
    )
    times = array("d", [math.nan if row["time"] is None else row["time"] for row in rows])
    data = {
        "templates": list(colors),
        "colors": encode_colors(colors.values()),
        "names": [str(row["name"]) for row in rows],
        "pictures": [str(row["picture"]) for row in rows],
        "time": encode(times),
        "found": _encoded(chunks.rows("boxes"), "score", *places),
        "missed": _encoded(chunks.rows("not_found"), "best_score", *places),
    }
    groups = [[index] for index in range(len(thumbnails))]
    write_page(
        path, PACKAGE, ("main.js",), data, summary,
        lambda i: read_thumbnail(thumbnails[i]), groups, max_bytes,
    )  # fmt: skip


def _encoded(
    rows: Iterable[Row], score: str, scenes: Mapping[str, int], templates: Mapping[str, int]
) -> dict[str, tuple[str, str]]:
    """Return scene, template and score of the rows of a table as columns."""
    columns: dict[str, array[Any]] = {
        "scene": array("q"), "template": array("q"), "score": array("f")
    }  # fmt: skip
    for row in rows:
        columns["scene"].append(scenes[str(row["scene"])])
        columns["template"].append(templates[str(row["template"])])
        columns["score"].append(math.nan if row[score] is None else row[score])
    return {name: encode(column) for name, column in columns.items()}
