"""Values of table rows; an unknown value is None."""

import math
from collections.abc import Mapping

from patchmatch.writing.chunks import Row


def as_csv(row: Row, formats: Mapping[str, str]) -> Row:
    """Return a row as a csv file shows it.

    Args:
        row: Values by the name of their column.
        formats: How the numbers of a column are written, ``.4f`` for example.
    """
    return {
        name: str(value).lower()
        if isinstance(value, bool)
        else format(value, formats[name])
        if value is not None and name in formats
        else value
        for name, value in row.items()
    }


def number(value: float | None, decimals: int = 4) -> int | float | None:
    """Drop the decimals of a whole number and all beyond the fourth; None of what is no number."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, decimals)
    return int(rounded) if rounded == int(rounded) else rounded
