"""What a run leaves in its folder while it goes on, so that it can be resumed after any end."""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchmatch.core.errors import InputError
from patchmatch.io import read_bytes, write_bytes_atomic, write_csv, write_text_atomic

Row = Mapping[str, object]

CHUNKS, RUN = "chunks", "run.json"
PART_NAME = re.compile(r"\d{6,}(-.+)?\.(csv|json|jpg|png)|run\.json", re.DOTALL)
TEMPORARY_FILE = re.compile(r"\.[0-9a-f]{12}\.tmp\.\w+")  # see patchmatch.io.atomic_path
_DONE = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What a batch leaves for the end of the run.

    Attributes:
        rows: Rows of each table, by its name without suffix. Rows under another name become no
            table; they wait for ``PredictionWriter.finish``.
        files: What else it will need, by names that are unique within the batch: ``0.jpg``.
    """

    rows: Mapping[str, Sequence[Row]]
    files: Mapping[str, bytes] = field(default_factory=dict)


class RunChunks:
    """The folder ``chunks``: run.json, and the chunks by the index of their batch.

    A chunk counts once its <index>.json is there, which is written last and holds all its rows.
    The <index>.csv beside it is for people, should the run never come to its end.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / CHUNKS

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of the run that has not come to its end; None if there is none."""
        path = self.folder / RUN
        return read_json(path) if path.is_file() else None

    def start(self, settings: Mapping[str, Any]) -> None:
        """Remember the settings: from here on the folder holds an unfinished run."""
        write_text_atomic(self.folder / RUN, as_json(settings))

    def done(self) -> list[int]:
        """Return the indices of the batches whose chunk is whole, in order."""
        return [index for index, _ in self.records()]

    def add(
        self,
        index: int,
        chunk: Chunk,
        about: Mapping[str, Any],
        columns: Sequence[str],
        shown: Iterable[Row],
    ) -> None:
        """Write the chunk of a batch.

        Args:
            index: Position of the batch in the run.
            chunk: Its rows and files.
            about: What else the end of the run must know of the batch.
            columns: Header of the table for people.
            shown: Rows of that table.
        """
        for name, content in chunk.files.items():
            write_bytes_atomic(self.file(index, name), content)
        write_csv(self.folder / f"{index:06d}.csv", columns, shown)
        record = {**about, "rows": chunk.rows}
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        write_text_atomic(self.folder / f"{index:06d}.json", text + "\n")

    def file(self, index: int, name: str) -> Path:
        """Return where the file of a batch lies."""
        return self.folder / f"{index:06d}-{name}"

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield index and record of each whole chunk, in the order of the run."""
        found = (_DONE.fullmatch(path.name) for path in self.folder.glob("*.json"))
        for index in sorted(int(match[1]) for match in found if match):
            try:
                record = read_json(self.folder / f"{index:06d}.json")
            except InputError:  # damaged by something else than this program: made again
                continue
            if "rows" in record:
                yield index, record

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table, in the order of the run."""
        for _, record in self.records():
            yield from record["rows"].get(table, ())

    def remove(self) -> None:
        """Remove all chunks; run.json goes first, and with it the run is finished."""
        names = [path for path in self.folder.glob("*") if is_chunk(path)]
        remove(sorted(names, key=lambda path: path.name != RUN))
        with contextlib.suppress(OSError):  # something else lies in it
            self.folder.rmdir()


def is_chunk(path: Path) -> bool:
    """Tell whether a path in the folder ``chunks`` is of a run."""
    known = PART_NAME.fullmatch(path.name) or TEMPORARY_FILE.fullmatch(path.name)
    return bool(known) and path.is_file()


def as_json(content: object) -> str:
    """Return readable JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If it is none.
    """
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: is damaged; remove it, or choose another folder") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold a JSON object; remove it, or choose another folder")
    return content


def remove(paths: Iterable[Path]) -> None:
    """Remove files; those that are gone already are fine."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{path}: cannot be removed: {reason}; remove it, or choose another folder"
            ) from error


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those folders that hold nothing."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def files_of_a_run(
    folder: Path, top: Callable[[str], bool], below: Mapping[str, re.Pattern[str]]
) -> list[Path]:
    """Return what a run has left in its folder, and nothing else.

    Args:
        folder: The folder of the run.
        top: Whether a name directly in the folder is of a run.
        below: Which names are, in each subfolder and one folder further down.

    Returns:
        The files; those that say how far the run came are the first.
    """
    found = [path for path in sorted(folder.glob("*")) if top(path.name)]
    found += [path for path in sorted((folder / CHUNKS).glob("*")) if is_chunk(path)]
    for name, pattern in below.items():
        for path in (*sorted((folder / name).glob("*")), *sorted((folder / name).glob("*/*"))):
            if pattern.fullmatch(path.name) or TEMPORARY_FILE.fullmatch(path.name):
                found.append(path)
    states = (RUN, "summary.json")
    files = [path for path in found if path.is_file()]
    return sorted(files, key=lambda path: path.name not in states)
