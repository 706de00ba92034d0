"""The report of moving objects: the data of its page."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchmatch.objects.drawing import COLORS
from patchmatch.objects.rows import Key, key_of
from patchmatch.objects.run_objects import PICTURES, RunObjects
from patchmatch.writing.chunks import Row
from patchmatch.writing.report.encoding import encode, encode_colors
from patchmatch.writing.report.page import MAX_BYTES, write_page
from patchmatch.writing.report.thumbnails import read_thumbnail, stored_thumbnails

PACKAGE = "patchmatch.objects.report"
SCRIPTS = ("data.js", "frame.js", "timeline.js", "main.js")
_BOX = ("x0", "y0", "x1", "y1")


def write_report(
    path: Path, run: RunObjects, summary: Mapping[str, Any], max_bytes: int = MAX_BYTES
) -> None:
    """Write the report of a run atomically.

    The page links to the tables in the same folder. About 30 bytes per box are kept in memory.

    Args:
        path: The .html to write.
        run: The run. Its ``PICTURES`` rows have ``height``, ``width``, ``picture``, the path of the
            full picture relative to the page or None, and ``thumbnail``.
        summary: Content of summary.json.
        max_bytes: Maximum size of the page.

    Raises:
        InputError: If the page cannot be written.
    """
    thumbnails = stored_thumbnails(run.chunks, PICTURES)
    frames = _Frames(run.chunks.rows(PICTURES))
    track_columns, track_index = _track_columns(run.tracks, frames)
    boxes = _box_columns(run.objects(), frames, track_index)
    event_columns = _span_columns(run.events, frames, "event", ("tracks",))
    data = {
        "colors": encode_colors(COLORS),
        "sources": list(frames.sources),
        "frameNames": frames.names,
        "images": frames.images,
        "trackCount": len(track_index),
        "eventCount": len(event_columns["number"]),
        "frames": {name: encode(column) for name, column in frames.columns.items()},
        "boxes": {name: encode(column) for name, column in boxes.items()},
        "tracks": {name: encode(column) for name, column in track_columns.items()},
        "events": {name: encode(column) for name, column in event_columns.items()},
    }

    groups = [[index] for index in range(len(thumbnails))]
    write_page(
        path,
        PACKAGE,
        SCRIPTS,
        data,
        summary,
        lambda i: read_thumbnail(thumbnails[i]),
        groups,
        max_bytes,
    )


class _Frames:
    """The frames of a run as columns, and their indices by source and name."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.columns: dict[str, array[Any]] = {
            **{name: array("q") for name in ("source", "height", "width", "boxes")},
            "time": array("d"),
        }
        self.names: list[str] = []
        self.images: list[str] = []
        self.sources: dict[str, int] = {}
        self._index: dict[tuple[str, str], int] = {}
        for row in rows:
            source, name = str(row["source"]), str(row["frame"])
            self._index[source, name] = len(self.names)
            self.names.append(name)
            self.images.append(str(row["picture"] or ""))
            self.columns["source"].append(self.sources.setdefault(source, len(self.sources)))
            self.columns["time"].append(_number(row["time"]))
            self.columns["boxes"].append(0)
            for key in ("height", "width"):
                self.columns[key].append(int(str(row[key])))

    def index(self, row: Row, column: str) -> int:
        """Return the index of the frame that a row names in a column."""
        return self._index[str(row["source"]), str(row[column])]


def _span_columns(
    rows: Iterable[Row], frames: _Frames, number: str, counts: Sequence[str]
) -> dict[str, "array[Any]"]:
    """Return source, number, first and last frame, and counts, of tracks or events."""
    names = ("source", "number", "first", "last", *counts)
    columns: dict[str, array[Any]] = {name: array("q") for name in names}
    for row in rows:
        columns["source"].append(frames.sources[str(row["source"])])
        columns["number"].append(int(str(row[number])))
        columns["first"].append(frames.index(row, "frame0"))
        columns["last"].append(frames.index(row, "frame1"))
        for name in counts:
            columns[name].append(int(str(row[name])))
    return columns


def _track_columns(
    rows: Iterable[Row], frames: _Frames
) -> tuple[dict[str, "array[Any]"], dict[Key, int]]:
    """Return the columns of the tracks, and the index of each."""
    kept = list(rows)
    columns = _span_columns(kept, frames, "track", ("frames",))
    columns["path"] = array("f", [_number(row["path_length"]) for row in kept])
    columns["speed"] = array("f", [_number(row["mean_speed"]) for row in kept])
    return columns, {key_of(row): index for index, row in enumerate(kept)}


def _box_columns(
    rows: Iterable[Row], frames: _Frames, tracks: Mapping[Key, int]
) -> dict[str, "array[Any]"]:
    """Return the columns of the boxes, and count those of each frame."""
    columns: dict[str, array[Any]] = {"track": array("q"), **{n: array("f") for n in _BOX}}
    for row in rows:
        frames.columns["boxes"][frames.index(row, "frame")] += 1
        columns["track"].append(tracks[key_of(row)])
        for name in _BOX:
            columns[name].append(_number(row[name]))
    return columns


def _number(value: object) -> float:
    return math.nan if value is None else float(str(value))
