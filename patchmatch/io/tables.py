"""Tables as csv files: UTF-8, with a header; written with commas and identical bytes everywhere."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_text_atomic
from patchmatch.io.files import read_bytes

_DELIMITERS = ",;\t"  # spreadsheets write the latter two, depending on language and format


def write_csv(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write rows to a csv file atomically.

    Args:
        path: The file to write.
        columns: The header, also written if there are no rows.
        rows: A mapping per row with exactly these columns; None is written as an empty field.

    Raises:
        ValueError: If a row has other columns than the header.
        InputError: If the file cannot be written.
    """
    lines = _Lines()
    # with this end of line, fields that contain one of its characters are quoted
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(columns)
    for number, row in enumerate(rows):
        if set(row) != set(columns):
            raise ValueError(
                f"row {number} must have the columns {list(columns)}, got {list(row)}; "
                "give every column a value, None for an empty field"
            )
        writer.writerow([row[column] for column in columns])
    write_text_atomic(path, "".join(line.removesuffix("\r\n") + "\n" for line in lines))


class _Lines(list[str]):
    """A list to which ``csv.writer`` appends each line."""

    def write(self, line: str) -> None:
        self.append(line)


def read_csv(path: str | Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a csv file with a header, whose fields are separated by commas, semicolons or tabs.

    Args:
        path: The file to read; a byte order mark is skipped.
        columns: Required columns; others are read as well.

    Returns:
        A dictionary per row, from column to text.

    Raises:
        InputError: If the file cannot be read, is not csv, or lacks a required column.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save the table as UTF-8 csv") from error
    delimiter = _find_delimiter(text, columns)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: list[dict[str, str]] = []
    try:
        header = list(reader.fieldnames or ())
        missing = [column for column in columns if column not in header]
        if missing:
            raise InputError(
                f"{path}: the table lacks {', '.join(missing)}; "
                f"its header must name {', '.join(columns)}"
            )
        for row in reader:
            # DictReader gives long rows the key None and short rows the value None.
            if None in row or None in row.values():
                raise InputError(
                    f"{path} line {reader.line_num}: the row must have {len(header)} fields like "
                    "the header; correct the line or write the table again"
                )
            rows.append(row)
    except csv.Error as error:
        raise InputError(
            f"{path} line {reader.reader.line_num}: not csv ({error}); write the table again"
        ) from error
    return rows


def _find_delimiter(text: str, columns: Sequence[str]) -> str:
    """Return the delimiter with which the header has all required columns; else the comma."""
    header = next(iter(text.splitlines()), "")
    for delimiter in _DELIMITERS:
        if set(columns) <= {name.strip('"') for name in header.split(delimiter)}:
            return delimiter
    return ","
