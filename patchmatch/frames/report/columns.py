"""Conversion of table rows to compact numeric columns, a few bytes per value."""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

Row = Mapping[str, object]

LAYERS = ("still", "one_pixel", "larger")  # the kinds
FIXED_POINT = ("score", "confidence")  # stored as uint16 in units of 1/10000, as in the tables
UNKNOWN = 65535  # of a fixed-point value
_NAMES = ("source", "frame0", "frame1")
_COUNTS = ("blocks", "still", "one_pixel", "larger", "unmatched", "boxes", "height", "width")
_MEASURES = ("time0", "time1", "mean_score")
_BOX = ("x0", "y0", "x1", "y1")
_MOTION = ("dx", "dy", "camera_dx", "camera_dy")


class PairColumns:
    """Columns of the pairs of a run.

    Args:
        rows: Rows of pairs.csv with ``height`` and ``width``, optionally ``picture``.

    Attributes:
        counts: Integer columns; ``source``, ``frame0`` and ``frame1`` are indices into ``names``,
            ``thumbnail`` is an index into ``thumbnails``.
        measures: Float columns; NaN where unknown.
        names: Unique names of sequences and frames.
        images: Path of the full image of each pair; "" without one.
        thumbnails: For each distinct later frame, the indices of the pairs that share it.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.counts = {name: array("q") for name in (*_NAMES, *_COUNTS, "thumbnail")}
        self.measures = {name: array("d") for name in _MEASURES}
        self.names: list[str] = []
        self.images: list[str] = []
        self.thumbnails: list[list[int]] = []
        name_index: dict[str, int] = {}
        frame_index: dict[tuple[int, int], int] = {}
        for index, row in enumerate(rows):
            for name in _NAMES:
                text = _text(row[name])
                number = name_index.setdefault(text, len(name_index))
                if number == len(self.names):
                    self.names.append(text)
                self.counts[name].append(number)
            for name in _COUNTS:
                self.counts[name].append(_count(row[name]))
            for name in _MEASURES:
                self.measures[name].append(_measure(row[name]))
            self.images.append(_text(row.get("picture")))
            key = (self.counts["source"][-1], self.counts["frame1"][-1])
            number = frame_index.setdefault(key, len(frame_index))
            if number == len(self.thumbnails):
                self.thumbnails.append([])
            self.thumbnails[number].append(index)
            self.counts["thumbnail"].append(number)

    def __len__(self) -> int:
        return len(self.images)

    def names_of(self, index: int) -> tuple[str, ...]:
        """Return the names of the sequence, the earlier and the later frame of a pair."""
        return tuple(self.names[self.counts[name][index]] for name in _NAMES)

    def max_rows_per_pair(self, limit: int) -> int:
        """Return the number of rows to keep per pair so that about ``limit`` remain in total."""
        boxes = np.array(self.counts["boxes"], np.int64)
        maximum = int(boxes.max(initial=0))
        while maximum > 1 and int(np.minimum(boxes, maximum).sum()) > limit:
            maximum = min(maximum - 1, maximum * 9 // 10)
        return maximum


def change_columns(
    rows: Iterable[Row], pairs: PairColumns, max_rows: int
) -> dict[str, "array[Any]"]:
    """Return the numeric columns of changes.csv.

    Args:
        rows: Rows of changes.csv in the order of the pairs.
        pairs: The pairs; ``boxes`` is the number of rows of each.
        max_rows: Rows to keep per pair, from the first.

    Returns:
        The columns; ``layer`` is an index into ``LAYERS``, ``matched`` is 0 or 1.

    Raises:
        ValueError: If the rows do not belong to the pairs.
    """
    columns: dict[str, array[Any]] = {name: array("i") for name in (*_BOX, "layer", "matched")}
    columns |= {name: array("f") for name in _MOTION}
    columns |= {name: array("H") for name in FIXED_POINT}
    remaining = iter(rows)
    for index, boxes in enumerate(pairs.counts["boxes"]):
        for row in _take_rows(remaining, pairs.names_of(index), boxes)[:max_rows]:
            for name in _BOX:
                columns[name].append(_count(row[name]))
            for name in _MOTION:
                columns[name].append(_measure(row[name]))
            for name in FIXED_POINT:
                value = _measure(row[name])
                columns[name].append(round(value * 10_000) if 0 <= value <= 1 else UNKNOWN)
            columns["matched"].append(_text(row["matched"]).lower() != "false")
            columns["layer"].append(LAYERS.index(_text(row["kind"])))
    if next(remaining, None) is not None:
        raise ValueError(f"rows must belong to the {len(pairs)} pairs, got more rows")
    return columns


def _take_rows(rows: Iterator[Row], names: tuple[str, ...], count: int) -> list[Row]:
    """Take the rows of a pair and check that they belong to it."""
    taken = list(islice(rows, count))
    for row in taken:
        if (got := tuple(_text(row[name]) for name in _NAMES)) != names:
            raise ValueError(f"rows must be in the order of the pairs, expected {names}, got {got}")
    if len(taken) < count:
        raise ValueError(f"{names} must have {count} rows as in its pair, got {len(taken)}")
    return taken


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _count(value: object) -> int:
    return 0 if value in (None, "") else int(float(str(value)))


def _measure(value: object) -> float:
    return math.nan if value in (None, "") else float(str(value))
