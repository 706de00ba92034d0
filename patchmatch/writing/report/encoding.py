"""Columns of numbers as base64, a few bytes per value, and colours."""

import base64
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def encode(column: "array[Any]") -> tuple[str, str]:
    """Return the name of the smallest sufficient JavaScript typed array, and its bytes as base64.

    Both are empty if no value is finite.
    """
    values = np.array(column, dtype=column.typecode)
    if column.typecode in "fd":
        if not np.isfinite(values).any():
            return "", ""
        dtype = "float32" if column.typecode == "f" else "float64"
    else:
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        fits = (
            dtype
            for dtype in ("uint8", "uint16", "int16", "int32")
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max
        )
        dtype = next(fits, "float64")
    little_endian = values.astype(np.dtype(dtype).newbyteorder("<"))
    return f"{dtype.capitalize()}Array", base64.b64encode(little_endian.tobytes()).decode()


def encode_colors(colors: Iterable[Sequence[int]]) -> list[str]:
    """Return colours, RGB from 0 to 255, as in style sheets."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors]
