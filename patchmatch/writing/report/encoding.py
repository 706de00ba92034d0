"""Columns of numbers as base64, a few bytes per value."""

import base64
from array import array
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
