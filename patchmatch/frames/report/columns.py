"""Tables as columns of numbers: a few bytes a value, in memory and in the page."""

import base64
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

Row = Mapping[str, object]

LAYERS = ("still", "one_pixel", "larger", "unmatched")
TEN_THOUSANDTHS = ("score", "confidence")  # exact in two bytes, as the tables round them
UNKNOWN = 65535
_PLACE = ("source", "frame0", "frame1")
_COUNTS = ("blocks", "still", "one_pixel", "larger", "unmatched", "boxes", "height", "width")
_TIMES = ("time0", "time1", "mean_score")
_BOX = ("x0", "y0", "x1", "y1")
_MOTION = ("dx", "dy", "camera_dx", "camera_dy")


class Pairs:
    """The pairs of a run, in its order.

    Args:
        rows: As in pairs.csv, with ``height`` and ``width``, and ``picture`` perhaps.

    Attributes:
        counts: Whole numbers by name; ``source``, ``frame0`` and ``frame1`` are indices of
            ``names``, ``shot`` is an index of ``shots``.
        measures: Other numbers by name; NaN where not known.
        names: What sequences and frames are called, each once.
        pictures: Where a picture of each pair lies; "" where there is none.
        shots: The pairs that show the same later frame, for each such frame.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.counts = {name: array("q") for name in (*_PLACE, *_COUNTS, "shot")}
        self.measures = {name: array("d") for name in _TIMES}
        self.names: list[str] = []
        self.pictures: list[str] = []
        self.shots: list[list[int]] = []
        numbers: dict[str, int] = {}
        shown: dict[tuple[int, int], int] = {}
        for index, row in enumerate(rows):
            for name in _PLACE:
                text = _text(row[name])
                number = numbers.setdefault(text, len(numbers))
                if number == len(self.names):
                    self.names.append(text)
                self.counts[name].append(number)
            for name in _COUNTS:
                self.counts[name].append(_count(row[name]))
            for name in _TIMES:
                self.measures[name].append(_measure(row[name]))
            self.pictures.append(_text(row.get("picture")))
            key = (self.counts["source"][-1], self.counts["frame1"][-1])
            shot = shown.setdefault(key, len(shown))
            if shot == len(self.shots):
                self.shots.append([])
            self.shots[shot].append(index)
            self.counts["shot"].append(shot)

    def __len__(self) -> int:
        return len(self.pictures)

    def place(self, index: int) -> tuple[str, ...]:
        """Return sequence, earlier and later frame of a pair."""
        return tuple(self.names[self.counts[name][index]] for name in _PLACE)

    def most_rows(self, limit: int) -> int:
        """Return how many rows a pair may keep so that all pairs keep some ``limit`` at most."""
        boxes = np.array(self.counts["boxes"], np.int64)
        most = int(boxes.max(initial=0))
        while most > 1 and int(np.minimum(boxes, most).sum()) > limit:
            most = min(most - 1, most * 9 // 10)
        return most


def read_changes(rows: Iterable[Row], pairs: Pairs, most: int) -> dict[str, "array[Any]"]:
    """Read the rows of all pairs as columns.

    Args:
        rows: As in changes.csv, in the order of the pairs.
        pairs: The pairs; ``boxes`` tells how many rows each has.
        most: Of each pair, only so many are kept, the first ones.

    Returns:
        The numbers of changes.csv, and ``layer``, an index of ``LAYERS``. There is no ``area``
        where it is that of the box everywhere.

    Raises:
        ValueError: If the rows are not those of the pairs.
    """
    columns: dict[str, array[Any]] = {name: array("i") for name in (*_BOX, "area", "layer")}
    columns |= {name: array("f") for name in _MOTION}
    columns |= {name: array("H") for name in TEN_THOUSANDTHS}
    merged = False
    rest = iter(rows)
    for index, boxes in enumerate(pairs.counts["boxes"]):
        for row in islice(_rows_of(rest, pairs.place(index), boxes), most):
            x0, y0, x1, y1 = box = [_count(row[name]) for name in _BOX]
            for name, value in zip(_BOX, box, strict=True):
                columns[name].append(value)
            area = _count(row.get("area")) or (x1 - x0) * (y1 - y0)
            merged |= area != (x1 - x0) * (y1 - y0)
            columns["area"].append(area)
            for name in _MOTION:
                columns[name].append(_measure(row[name]))
            for name in TEN_THOUSANDTHS:
                value = _measure(row[name])
                columns[name].append(round(value * 10_000) if 0 <= value <= 1 else UNKNOWN)
            lost = _text(row["matched"]).lower() == "false"
            columns["layer"].append(LAYERS.index("unmatched" if lost else _text(row["kind"])))
    if next(rest, None) is not None:
        raise ValueError(f"rows must be those of the {len(pairs)} pairs, got more")
    if not merged:
        del columns["area"]
    return columns


def encode(column: "array[Any]") -> tuple[str, str]:
    """Return the name of the smallest JavaScript array that fits, and base64 of its bytes.

    Both are empty where no value is a number.
    """
    values = np.array(column, dtype=column.typecode)
    if column.typecode in "fd":
        if not np.isfinite(values).any():
            return "", ""
        kind = "float32" if column.typecode == "f" else "float64"
    else:
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        kinds = ("uint8", "uint16", "int16", "int32")
        fits = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        kind = next(fits, "float64")
    little = values.astype(np.dtype(kind).newbyteorder("<"))
    return f"{kind.capitalize()}Array", base64.b64encode(little.tobytes()).decode()


def _rows_of(rest: Iterator[Row], place: tuple[str, ...], count: int) -> Iterator[Row]:
    """Yield the rows of a pair, all of which are consumed, and make sure that they are its own."""
    own = list(islice(rest, count))
    for row in own:
        if (came := tuple(_text(row[name]) for name in _PLACE)) != place:
            raise ValueError(f"rows must come in the order of the pairs, here {place}, got {came}")
    if len(own) < count:
        raise ValueError(f"{place} must have {count} rows, as its pair says, got {len(own)}")
    return iter(own)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _count(value: object) -> int:
    return 0 if value in (None, "") else int(float(str(value)))


def _measure(value: object) -> float:
    return math.nan if value in (None, "") else float(str(value))
