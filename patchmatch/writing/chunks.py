"""The files of an unfinished run, from which the run can be resumed."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchmatch.core.errors import InputError
from patchmatch.io import read_bytes, write_bytes_atomic, write_csv, write_text_atomic
from patchmatch.io.manifest import CHUNKS_FOLDER, SETTINGS_FILE, as_json

Row = Mapping[str, object]

_AGAIN = "give --writer.resume true to predict its batch again"
_RECORD = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The results of a batch that are merged at the end of the run.

    Attributes:
        rows: Rows of each table, by its name without suffix. Rows under other names are not
            written to a table; ``PredictionWriter.finish`` can read them.
        files: Content of files that ``finish`` needs, by names unique within the batch: ``0.jpg``.
    """

    rows: Mapping[str, Sequence[Row]]
    files: Mapping[str, bytes] = field(default_factory=dict)


class RunChunks:
    """The folder ``chunks``: run.json with the settings, and a chunk for each completed batch.

    A chunk is complete when its INDEX.json exists: that file is written last and contains all
    rows. INDEX.csv shows the same rows to people, in case the run does not finish.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / CHUNKS_FOLDER

    @property
    def settings_path(self) -> Path:
        """The file whose presence marks the run as unfinished."""
        return self.folder / SETTINGS_FILE

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of the unfinished run, or None if there is no unfinished run."""
        path = self.settings_path
        return read_json(path) if path.is_file() else None

    def start(self, settings: Mapping[str, Any]) -> None:
        """Write the settings, which marks the run as unfinished."""
        write_text_atomic(self.settings_path, as_json(settings))

    def completed(self) -> list[int]:
        """Return the indices of the batches with a complete chunk, in ascending order."""
        return [index for index in self._indices() if self._is_readable(index)]

    def add(
        self,
        index: int,
        chunk: Chunk,
        metadata: Mapping[str, Any],
        columns: Sequence[str],
        table_rows: Iterable[Row],
    ) -> None:
        """Write the chunk of a batch.

        Args:
            index: Position of the batch in the run.
            chunk: Its rows and files.
            metadata: Further entries of the record, for the end of the run.
            columns: Header of INDEX.csv.
            table_rows: Rows of INDEX.csv.
        """
        for name, content in chunk.files.items():
            write_bytes_atomic(self.file(index, name), content)
        write_csv(self.folder / f"{index:06d}.csv", columns, table_rows)
        record = {**metadata, "rows": chunk.rows}
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        write_text_atomic(self.folder / f"{index:06d}.json", text + "\n")

    def file(self, index: int, name: str) -> Path:
        """Return the path of a file of a batch."""
        return self.folder / f"{index:06d}-{name}"

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield index and record of each chunk, in ascending order.

        Raises:
            InputError: If a chunk is damaged: without its rows the tables would be incomplete.
        """
        for index in self._indices():
            record = read_json(path := self.folder / f"{index:06d}.json")
            if "rows" not in record:
                raise InputError(f"{path}: is damaged; {_AGAIN}")
            yield index, record

    def require(self, names: Iterable[str]) -> None:
        """Raise InputError if the record of a chunk is missing.

        Args:
            names: Names of files that the run wrote into the folder; those of other kinds are
                ignored.
        """
        found = (_RECORD.fullmatch(name) for name in names)
        written = {int(match[1]) for match in found if match}
        for index in sorted(written.difference(self._indices())):
            raise InputError(f"{self.folder / f'{index:06d}.json'}: is missing; {_AGAIN}")

    def _indices(self) -> list[int]:
        """Return the indices of all records, in ascending order."""
        found = (_RECORD.fullmatch(path.name) for path in self.folder.glob("*.json"))
        return sorted(int(match[1]) for match in found if match)

    def _is_readable(self, index: int) -> bool:
        """Return whether a chunk is complete; other programs may have damaged it."""
        try:
            return "rows" in read_json(self.folder / f"{index:06d}.json")
        except InputError:
            return False

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table, in the order of the run."""
        for _, record in self.records():
            yield from record["rows"].get(table, ())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If the file does not contain a JSON object.
    """
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: is damaged; remove it or choose another folder") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object; remove it or choose another folder")
    return content
