"""The folder of a run: who uses it, the run that it contains, and the files of that run."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from patchmatch.core.errors import InputError
from patchmatch.io import write_text_atomic
from patchmatch.io.atomic import observe_writes
from patchmatch.io.lock import FolderLock
from patchmatch.io.manifest import (
    CHUNKS_FOLDER,
    SETTINGS_FILE,
    SUMMARY_FILE,
    Manifest,
    as_json,
)
from patchmatch.writing.chunks import RunChunks
from patchmatch.writing.settings import differences, fingerprint

_OTHER = "another --writer.output_path"
_OVERWRITE = "--writer.overwrite true to replace it"


class RunState(Enum):
    """State of the run in a folder when another run starts."""

    NEW = "new"  #: no earlier run
    REPLACED = "replaced"  #: an earlier run, whose files are removed when the first results exist
    UNFINISHED = "unfinished"  #: stopped or killed, to be resumed
    FINISHED = "finished"  #: complete, nothing to do


class RunFolder:
    """The folder of a run, which one run at a time uses.

    Args:
        path: The folder; created if missing.
        trainer: The trainer of the run, whose first process locks the folder.
        warn: Issues a warning.

    Attributes:
        state: State of the run in the folder, from ``open``.
        settings: Settings of the run that starts or resumes, from ``open``.
        manifest: The files that runs wrote into the folder.

    Raises:
        InputError: If the folder is not writable, or another run uses it.
    """

    def __init__(self, path: str, trainer: pl.Trainer, warn: Callable[[str], None]) -> None:
        self.path, self.chunks = Path(path), RunChunks(Path(path))
        self.state = RunState.NEW
        self.settings: Mapping[str, Any] = {}
        self._warn = warn
        self._is_first = trainer.is_global_zero
        self._lock = FolderLock(self.path, trainer.global_rank)
        problem = None
        if self._is_first:
            try:
                if reason := self._lock.acquire():
                    self._warn(
                        f"{path}: this file system cannot lock files ({reason}); do not start "
                        "another run in this folder before this one ends"
                    )
            except InputError as error:
                problem = str(error)
        # all processes fail together: a single one would leave the others waiting
        if problem := trainer.strategy.broadcast(problem):
            raise InputError(problem)
        if not self._is_first:
            self._lock.join()
        self.manifest = Manifest(self.path, trainer.global_rank)

    def open(
        self,
        settings: Mapping[str, Any],
        planned: Iterable[str],
        inputs: Collection[Path],
        overwrite: bool,
        resume: bool,
    ) -> None:
        """Find out which run the folder contains, without changing a file.

        Args:
            settings: Settings of the run that starts, from ``run_settings``.
            planned: Names of the files that it writes, as far as they are known.
            inputs: Files that it reads.
            overwrite: Whether an earlier run may be replaced.
            resume: Whether an earlier run is to be resumed.

        Raises:
            InputError: If an earlier run may be neither replaced nor resumed, or the run would
                replace a file that no run wrote, or one of its inputs.
        """
        self.state, self.settings = self._resolve(settings, overwrite, resume)
        if self.state is RunState.FINISHED:
            return
        if self.state is RunState.UNFINISHED:  # others belong to batches that may be complete
            planned = (name for name in planned if "/" not in name)
        if foreign := self.manifest.foreign(planned):
            self._raise_foreign(foreign)
        read = {_identity(path) for path in inputs if self.manifest.names} - {None}
        for name in sorted(self.manifest.names) if read else ():
            if _identity(self.path / name) in read:
                raise InputError(
                    f"{self.path / name}: is an input of this run and an output of the run in "
                    f"{self.path}, which would be replaced; choose {_OTHER}"
                )

    def start(self) -> None:
        """Prepare the folder, on the first process: mark a new run as unfinished."""
        if not self._is_first or self.state is RunState.REPLACED:
            return
        self.manifest.remove_temporaries()
        if self.state is RunState.FINISHED:  # it may have been killed while removing its chunks
            self.manifest.remove_chunks()
        elif self.state is RunState.UNFINISHED:
            self._remove_former()
        else:
            self.manifest.remove_chunk_files()  # of a run that was killed at its start
            self._write_settings()

    def add_weights(self, matcher: pl.LightningModule) -> Mapping[str, Any]:
        """Add the weights to the settings of the run, and return these.

        Raises:
            InputError: If the run to resume had other weights.
        """
        weights = {"state_dict": fingerprint(matcher)}
        current = {**self.settings, "matcher": {**self.settings.get("matcher", {}), **weights}}
        if changed := differences(self.settings, current):
            raise InputError(
                f"{self.path}: cannot resume the run with other weights: {changed[0]}; give its "
                f"checkpoint, or {_OVERWRITE}"
            )
        self.settings = current
        if self.state in (RunState.NEW, RunState.UNFINISHED):
            self._write_settings()
        return current

    def _write_settings(self) -> None:
        """Write the settings on the first process; the run is unfinished as long as they exist."""
        if self._is_first:
            with self.observe():
                self.chunks.start(self.settings)

    def replace(self, trainer: pl.Trainer) -> None:
        """Remove the files of the earlier run, and mark the new one as unfinished.

        Every process calls it once. A kill at any time leaves the earlier run, or an unfinished new
        run whose files are all listed.
        """
        if self._is_first:
            manifest = self.manifest = Manifest(self.path)
            manifest.remove_temporaries()
            manifest.remove_chunk_files([SETTINGS_FILE])
            manifest.start_replacing()
            manifest.remove_chunk_files()
            self.state = RunState.NEW
            self._write_settings()
            self._remove_former()
        trainer.strategy.barrier()
        self.state = RunState.NEW

    def observe(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which written files are listed as those of the run."""
        return observe_writes(self.manifest)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json with the list of all files of the run."""
        content = {**summary, "files": Manifest(self.path).records()}
        write_text_atomic(self.path / SUMMARY_FILE, as_json(content))

    def require_chunks(self) -> None:
        """Raise InputError if a chunk that the run wrote is missing."""
        prefix = f"{CHUNKS_FOLDER}/"
        names = (name for name in Manifest(self.path).files if name.startswith(prefix))
        self.chunks.require(name.removeprefix(prefix) for name in names)

    def end(self, complete: bool, has_pairs: bool) -> None:
        """Remove the chunks of a complete run, and all files of a run without results."""
        if not has_pairs and (complete or not self.has_results()):
            self.discard()
        elif complete:
            self.finish()

    def finish(self) -> None:
        """Remove the chunks, on the first process, once the summary is written."""
        Manifest(self.path).remove_chunks()

    def discard(self) -> None:
        """Remove all files of the run: it has no results."""
        manifest = Manifest(self.path)
        manifest.remove(manifest.existing())
        manifest.remove_chunks()

    def has_results(self) -> bool:
        """Return whether the run wrote more than its settings."""
        return bool(Manifest(self.path).existing() - {f"{CHUNKS_FOLDER}/{SETTINGS_FILE}"})

    def close(self) -> None:
        """Release the folder to other runs."""
        self._lock.release()

    def _resolve(
        self, settings: Mapping[str, Any], overwrite: bool, resume: bool
    ) -> tuple[RunState, Mapping[str, Any]]:
        """Return the state of the folder, and the settings of the run that starts or resumes."""
        path, summary, settings_name = self.path, self.manifest.summary, f"{CHUNKS_FOLDER}/run.json"
        is_unfinished = self.manifest.owns(settings_name) and (path / settings_name).is_file()
        has_files = any(not n.startswith(CHUNKS_FOLDER) for n in self.manifest.existing())
        if not is_unfinished and summary is None and not has_files:
            return RunState.NEW, settings
        if overwrite:
            if not is_unfinished and summary is not None and "files" not in summary:
                raise InputError(
                    f"{path}: contains a run of an older version, which does not list its files; "
                    f"remove them yourself, or choose {_OTHER}"
                )
            return RunState.REPLACED, settings
        if is_unfinished and not resume:
            raise InputError(
                f"{path}: contains an unfinished run; give --writer.resume true to resume it, "
                f"{_OVERWRITE}, or {_OTHER}"
            )
        previous = self.chunks.settings() if is_unfinished else None
        if not is_unfinished and summary is not None and summary["complete"]:
            previous = summary["settings"]
        if previous is None or not resume:
            raise InputError(f"{path}: contains an earlier run; give {_OVERWRITE}, or {_OTHER}")
        if changed := differences(previous, settings):
            raise InputError(
                f"{path}: cannot resume the run with other settings: {', '.join(changed)}; give "
                f"its settings, or {_OVERWRITE}"
            )
        return RunState.UNFINISHED if is_unfinished else RunState.FINISHED, previous

    def _raise_foreign(self, names: list[str]) -> None:
        """Raise the error about files that no run wrote, which the run would replace."""
        try:
            for name in names:
                self.manifest.require_own(name)
        except InputError as error:
            if len(names) == 1:
                raise
            raise InputError(f"{error} (and {len(names) - 1} more)") from error

    def _remove_former(self) -> None:
        if kept := self.manifest.remove_former():
            more = f" (and {len(kept) - 1} more)" if len(kept) > 1 else ""
            self._warn(
                f"{self.path / kept[0]}{more}: kept, because it changed after an earlier run wrote "
                "it"
            )


def skip_batches(trainer: pl.Trainer, done: Sequence[int], count: int | None) -> None:
    """Make the data module of a trainer skip completed batches.

    Args:
        trainer: The trainer.
        done: The index of each completed batch.
        count: Number of batches of the run; None if unknown.
    """
    data: Any = getattr(trainer, "datamodule", None)
    if not hasattr(data, "skip"):
        raise ValueError(
            f"resume requires a data module with skip(), as Frames has, got {type(data).__name__}"
        )
    data.skip(done)
    if len(done) == count:
        trainer.limit_predict_batches = 0  # otherwise Lightning warns about empty data


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what two paths of one file have in common; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
