"""The report of frame changes: the data of its page."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from patchmatch.frames.report.columns import LAYERS, PairColumns, Row, change_columns
from patchmatch.writing.report.encoding import encode
from patchmatch.writing.report.page import MAX_BYTES, write_page

PACKAGE = "patchmatch.frames.report"
SCRIPTS = ("data.js", "frame.js", "timeline.js", "charts.js", "details.js", "main.js")
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
    data = {
        "layers": LAYERS,
        "names": pair_columns.names,
        "images": pair_columns.images if any(pair_columns.images) else [],
        "maxRows": max_rows,
        "pairs": {name: encode(column) for name, column in numeric.items()},
        "rows": {name: encode(column) for name, column in columns.items()},
    }
    groups = pair_columns.thumbnails
    write_page(path, PACKAGE, SCRIPTS, data, summary, thumbnails, groups, max_bytes)
