"""Values of table rows; None means unknown."""

import math
from collections.abc import Mapping

from patchmatch.writing.chunks import Row


def as_csv(row: Row, formats: Mapping[str, str]) -> Row:
    """Return a row with its values formatted for a csv file.

    Args:
        row: Values by column name.
        formats: Format of the numbers of a column, for example ``.4f``.
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
    """Round a number; return an int if the result is integral, None if NaN or infinite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, decimals)
    return int(rounded) if rounded == int(rounded) else rounded
