"""The files that runs wrote into a folder, so that a run replaces and removes no others.

A finished run lists its files in summary.json: path, size and modification time. An unfinished run
lists them in chunks/written-N.jsonl, N being the index of the process. Each file is listed there
after its temporary file is complete and before it gets its name, so that a run that is killed at
any time has listed all of its files.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_error, write_text_atomic
from patchmatch.io.files import remove_files

CHUNKS_FOLDER, SETTINGS_FILE, SUMMARY_FILE = "chunks", "run.json", "summary.json"
_LOG = re.compile(r"written-\d+\.jsonl")
_CHUNK = re.compile(r"\d{6,}(-.+)?\.(csv|json|jpg|png)|run\.json", re.DOTALL)
_TEMPORARY = re.compile(r"(^|/)\.[0-9a-f]{12}\.tmp[^/]*$")  # see io.atomic_path
_COARSEST = 2_000_000_000  # ns; FAT stores times in steps of two seconds

State = tuple[int, int]  #: size in bytes and modification time in ns


class Manifest:
    """The files that runs wrote into a folder, and the log of those that a process writes.

    Used with ``observe_writes``, it lists each file in the log and cancels the write if it would
    replace a file that no run wrote. Names are paths relative to the folder, with "/".

    Args:
        folder: The folder of the run.
        process: Index of the process that writes.

    Attributes:
        summary: Content of summary.json, if a run wrote it.
        files: States in which the files of the run were written, by their names.
        former: The same for files of an earlier run that this run replaces.
        temporaries: Names of temporary files; after a kill, some may exist.
    """

    def __init__(self, folder: Path, process: int = 0) -> None:
        self.folder = folder
        self.log = folder / CHUNKS_FOLDER / f"written-{process}.jsonl"
        self.summary = read_summary(folder)
        self.files: dict[str, list[State]] = {}
        self.former: dict[str, list[State]] = {}
        self.temporaries: set[str] = set()
        for record in (self.summary or {}).get("files") or ():
            self._add(record)
        for log in _logs(folder):
            for line in log.read_bytes().splitlines():
                with contextlib.suppress(ValueError):  # cut off by a kill or a full disk
                    self._add(json.loads(line))

    @property
    def names(self) -> set[str]:
        """Names of all files that a run wrote, without summary.json."""
        return {*self.files, *self.former}

    def existing(self) -> set[str]:
        """Return the names of the files of the run that exist and are unchanged."""
        return {name for name in self.files if self._is_in(name, self.files)}

    def owns(self, name: str) -> bool:
        """Return whether a run wrote a file that exists, and it has not changed since.

        The chunks of a run are its own even if they are damaged.
        """
        if name == SUMMARY_FILE and self.summary is not None:
            return True
        if name.startswith(f"{CHUNKS_FOLDER}/") and (name in self.files or name in self.former):
            return True
        return self._is_in(name, self.files) or self._is_in(name, self.former)

    def foreign(self, planned: Iterable[str]) -> list[str]:
        """Return those of the planned names at which there is a file that no run wrote.

        Files in ``chunks`` that a run would take for its own count as planned.
        """
        by_folder: dict[PurePosixPath, set[str]] = {}
        for name in planned:
            path = PurePosixPath(name)
            by_folder.setdefault(path.parent, set()).add(path.name)
        found = [
            (folder / name).as_posix()
            for folder, names in by_folder.items()
            for name in sorted(names.intersection(_list(self.folder / folder)))
        ]
        chunks = sorted(filter(_CHUNK.fullmatch, _list(self.folder / CHUNKS_FOLDER)))
        found += [f"{CHUNKS_FOLDER}/{name}" for name in chunks]
        return [name for name in found if not self.owns(name)]

    def require_own(self, name: str) -> None:
        """Raise InputError if there is a file of this name that no run wrote."""
        path = self.folder / name
        if not os.path.lexists(path) or self.owns(name):
            return
        problem = "was changed after a run wrote it" if name in self.names else "no run wrote it"
        raise InputError(
            f"{path}: exists, and {problem}; move it, or choose another --writer.output_path"
        )

    def begin(self, path: Path, temporary: Path) -> None:
        """List a temporary file; raise InputError if the write would replace another's file."""
        if path.is_relative_to(self.folder):
            self.require_own(self._name(path))
            self._append({"temporary": self._name(temporary)})

    def ready(self, path: Path, temporary: Path) -> None:
        """List a file that is about to be renamed."""
        if path.is_relative_to(self.folder):
            size, mtime_ns = _state(temporary) or (0, 0)
            self._append({"path": self._name(path), "size": size, "mtime_ns": mtime_ns})

    def records(self) -> list[dict[str, Any]]:
        """Return the files of the run for summary.json, in the order of their names."""
        found = []
        for name in sorted(self.existing() - {SUMMARY_FILE}):
            state = _state(self.folder / name)
            if state is not None and not name.startswith(f"{CHUNKS_FOLDER}/"):
                found.append({"path": name, "size": state[0], "mtime_ns": state[1]})
        return found

    def start_replacing(self) -> None:
        """List all files as those of an earlier run, which the run that starts replaces."""
        states = {n: [*self.files.get(n, ()), *self.former.get(n, ())] for n in self.names}
        if self.summary is not None and (state := _state(self.folder / SUMMARY_FILE)):
            states[SUMMARY_FILE] = [state]
        records = [
            {"path": name, "size": size, "mtime_ns": mtime_ns, "former": True}
            for name, found in states.items()
            for size, mtime_ns in found
        ]
        self._append(*records)
        remove_files(log for log in _logs(self.folder) if log != self.log)

    def remove_former(self) -> list[str]:
        """Remove the files of the earlier run; return those that are kept because they changed."""
        names = [name for name in self.former if name != f"{CHUNKS_FOLDER}/{SETTINGS_FILE}"]
        kept = [
            name
            for name in sorted(names)
            if name not in self.files
            and not self._is_in(name, self.former)
            and os.path.lexists(self.folder / name)
        ]
        self.remove(name for name in names if self._is_in(name, self.former))
        return kept

    def remove_temporaries(self) -> None:
        """Remove the temporary files that a kill left."""
        self.remove(self.temporaries)

    def remove_chunks(self) -> None:
        """Remove the files of the run in ``chunks``; removing run.json marks it as finished."""
        self.remove_chunk_files([SETTINGS_FILE])
        self.remove_chunk_files()
        remove_files(_logs(self.folder))
        self.remove(())

    def remove_chunk_files(self, names: Iterable[str] | None = None) -> None:
        """Remove files of ``chunks`` that a run wrote; all but the logs by default."""
        prefix = f"{CHUNKS_FOLDER}/"
        listed = {name for name in self.names if name.startswith(prefix)}
        if names is not None:
            listed &= {prefix + name for name in names}
        remove_files(self.folder / name for name in sorted(listed))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and the folders that thereby become empty."""
        paths = [self.folder / name for name in names]
        remove_files(paths)
        folders = {parent for path in paths for parent in path.parents}
        folders = {folder for folder in folders if self.folder in folder.parents}
        for folder in sorted({*folders, self.log.parent}, key=lambda f: len(f.parts), reverse=True):
            with contextlib.suppress(OSError):  # it contains other files
                folder.rmdir()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _is_in(self, name: str, states: dict[str, list[State]]) -> bool:
        """Return whether a file exists in one of the states in which it was written."""
        if name not in states or (state := _state(self.folder / name)) is None:
            return False
        size, mtime_ns = state
        return any(size == s and abs(mtime_ns - m) < _COARSEST for s, m in states[name])

    def _append(self, *records: dict[str, Any]) -> None:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                # the line before may be cut off
                file.write("".join(f"\n{json.dumps(record)}" for record in records))
        except OSError as error:
            raise write_error(self.log, self.log.parent, error) from error
        for record in records:
            self._add(record)

    def _add(self, record: Any) -> None:
        """Add a record of a log or of summary.json; those that no run wrote are ignored."""
        match record:
            case {"temporary": str(name)} if _is_inside(name) and _TEMPORARY.search(name):
                self.temporaries.add(name)
            case {"path": str(name), "size": int(size), "mtime_ns": int(time)} if _is_inside(name):
                if record.get("former"):  # this run has not written it
                    self.files.pop(name, None)
                target = self.former if record.get("former") else self.files
                target.setdefault(name, []).append((size, time))


def add_to_run(folder: Path, names: Iterable[str]) -> None:
    """List files in the summary.json of a finished run, so that they are replaced with the run.

    Args:
        folder: The folder; nothing happens if it is not that of a finished run.
        names: Names of the files in it, such as those of an evaluation of the run.
    """
    manifest = Manifest(folder)
    if manifest.summary is None or not manifest.summary["complete"] or _logs(folder):
        return
    for name in names:
        if (state := _state(folder / name)) is not None:
            manifest.files[name] = [state]
    content = manifest.summary | {"files": manifest.records()}
    write_text_atomic(folder / SUMMARY_FILE, as_json(content))


def as_json(content: object) -> str:
    """Return content as the text of a JSON file, indented."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def outputs_in(folder: Path) -> set[Path]:
    """Return the files that a run lists as its own in a folder, if it is the folder of a run."""
    manifest = Manifest(folder)
    found = {folder / name for name in manifest.names}
    if manifest.summary is not None:
        found.add(folder / SUMMARY_FILE)
    return found.union(_logs(folder))


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the content of summary.json; None without one or if no run wrote it."""
    try:
        content = json.loads((folder / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    is_of_run = isinstance(content, dict) and {"complete", "settings"} <= content.keys()
    return content if is_of_run else None


def _logs(folder: Path) -> list[Path]:
    """Return the logs of a run in its folder ``chunks``."""
    chunks = folder / CHUNKS_FOLDER
    return [chunks / name for name in sorted(_list(chunks)) if _LOG.fullmatch(name)]


def _list(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, none if it is missing."""
    with contextlib.suppress(OSError):
        yield from (entry.name for entry in folder.iterdir())


def _state(path: Path) -> State | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _is_inside(name: str) -> bool:
    """Return whether a listed name is that of a file inside the folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
