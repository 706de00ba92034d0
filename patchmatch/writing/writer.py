"""Base class of prediction writers: the folder of a run, its tables and its summary."""

import abc
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.io import require_writable_folder, write_csv, write_text_atomic
from patchmatch.writing.chunks import (
    SETTINGS_FILE,
    SUMMARY_FILE,
    TEMPORARY_FILE,
    Chunk,
    RunChunks,
    as_json,
    has_run,
    remove_empty_folders,
    remove_files,
    run_files,
)
from patchmatch.writing.registry import require_writer_fits
from patchmatch.writing.rows import as_csv
from patchmatch.writing.run_state import RunState, resolve_run_state
from patchmatch.writing.settings import differences, fingerprint, run_settings
from patchmatch.writing.summary import print_summary, summarize


class PredictionWriter(BasePredictionWriter, abc.ABC):
    """Write predictions into a folder, batch by batch.

    A subclass declares its outputs in class attributes and writes them in ``write_batch``. A batch
    is a mapping with ``source``, ``pairs``, ``notes`` and optionally ``index``, such as ``Clip``.

    Each batch writes its images and a chunk of the tables, so a killed run loses at most one batch
    and can be resumed. When the run ends, also by an error or Ctrl+C, the chunks are merged into
    tables; after a complete run they are removed. With several processes, each writes its own
    chunks and the first merges them. Chunks are ordered by the index of the batch, so the tables
    depend neither on the number of processes nor on interruptions.

    Args:
        output_path: Folder for the tables, images and summary.json; created if missing.
        overwrite: Replace the files of an earlier run in that folder; other files are kept.
        resume: Continue a run with the same settings that was stopped or killed. Without such a
            run it starts from the beginning; if the run is complete it does nothing.

    Attributes:
        tables: Columns of each table, by its name without suffix. Rows of the first one are
            counted by their ``kind`` if they have one.
        csv_formats: Format of the numbers of a column in csv files, for example ``.4f``.
        top_files: Pattern of the names of other files directly in the folder.
        subfolders: Pattern of the names of files in each subfolder, and one folder below it.
        image_folder: Name of the subfolder of the images.
        row_noun: Plural noun for rows of the first table.
        batch_noun: Plural noun for batches.
        pair_noun: Plural noun for the pairs of a batch.
    """

    tables: ClassVar[Mapping[str, Sequence[str]]]
    csv_formats: ClassVar[Mapping[str, str]] = {}
    top_files: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    subfolders: ClassVar[Mapping[str, re.Pattern[str]]]
    image_folder: ClassVar[str]
    row_noun: ClassVar[str]
    batch_noun: ClassVar[str] = "clips"
    pair_noun: ClassVar[str] = "pairs"

    def __init__(
        self, output_path: str = "data/output", overwrite: bool = False, resume: bool = False
    ) -> None:
        super().__init__(write_interval="batch")
        if overwrite and resume:
            raise ValueError("overwrite and resume contradict each other; give one of them")
        self.output_path = output_path
        self.overwrite, self.resume = overwrite, resume
        self._is_open = False
        self._start = 0.0
        self._warned: set[str] = set()
        self._settings: Mapping[str, Any] = {}
        self._summary: dict[str, Any] | None = None
        self._outputs: dict[str, Path] = {}

    @abc.abstractmethod
    def write_batch(self, prediction: Any, batch: Any) -> Chunk:
        """Write the images of a batch and return its rows; ``prediction`` has an item per pair."""

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables from all chunks, also those of the run that is resumed."""
        for name, columns in self.tables.items():
            rows = (as_csv(row, self.csv_formats) for row in chunks.rows(name))
            write_csv(self.folder / f"{name}.csv", columns, rows)

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write outputs that need all chunks; not called if an error ended the run.

        Returns:
            Paths of the outputs by their labels in the printed summary.
        """
        return {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check matcher and folder before anything is computed.

        Raises:
            InputError: If the writer cannot write the predictions of the matcher, or if the folder
                is not writable, contains a run that must not be overwritten, or a run with other
                settings than those to resume.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        require_writer_fits(self, pl_module)
        # An iterable dataset has no sample indices.
        warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")
        require_writable_folder(self.output_path)
        existing = self.outputs_in(self.folder)
        settings = run_settings(trainer, pl_module, self)
        state, self._settings = resolve_run_state(
            self.output_path, existing, settings, self.overwrite, self.resume
        )
        done = self.chunks.completed() if state is RunState.UNFINISHED else []
        trainer.strategy.barrier()  # all processes read the state before one changes it
        if trainer.is_global_zero:
            self._prepare_folder(existing, state)
        trainer.strategy.barrier()
        self._warned, self._summary, self._outputs = set(), None, {}
        self._start = time.monotonic()
        self._is_open = state is not RunState.FINISHED
        if state is RunState.FINISHED:
            trainer.limit_predict_batches = 0
            self._warn_on_rank_zero(trainer, "the run is already complete; nothing to do")
        elif done:
            self._skip_batches(trainer, done)

    def outputs_in(self, folder: Path) -> list[Path]:
        """Return the files that this or an earlier run wrote into its folder; else none."""
        is_run = folder.resolve() == self.folder.resolve() or has_run(folder)
        return run_files(folder, self._is_top_file, self.subfolders) if is_run else []

    def _prepare_folder(self, existing: Sequence[Path], state: RunState) -> None:
        """Remove obsolete files of an earlier run, and start a new one."""
        if state is RunState.NEW:
            remove_files(existing)
            parents = {path.parent for path in existing}
            remove_empty_folders(parents - {self.folder, self.chunks.folder})
            self.chunks.start(self._settings)
        elif state is RunState.FINISHED:  # it may have been killed while removing its chunks
            self.chunks.remove()
        remove_files([path for path in existing if TEMPORARY_FILE.fullmatch(path.name)])

    def _skip_batches(self, trainer: pl.Trainer, done: Sequence[int]) -> None:
        """Make the data module skip completed batches."""
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "skip"):
            raise ValueError(
                f"resume requires a data module with skip(), as Frames has, got "
                f"{type(data).__name__}"
            )
        data.skip(done)
        if len(done) == self._settings["data"].get("clips"):
            trainer.limit_predict_batches = 0  # otherwise Lightning warns about empty data
        self._warn_on_rank_zero(
            trainer, f"resuming; {len(done)} {self.batch_noun} are already complete"
        )

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the weights, which Lightning loads after ``setup``, to the settings."""
        self._require_weights(pl_module)
        if trainer.is_global_zero:
            self.chunks.start(self._settings)

    def _require_weights(self, pl_module: pl.LightningModule) -> None:
        """Raise InputError if the run to resume had other weights."""
        weights = {"state_dict": fingerprint(pl_module)}
        current = {**self._settings, "matcher": {**self._settings.get("matcher", {}), **weights}}
        if changed := differences(self._settings, current):
            raise InputError(
                f"{self.output_path}: cannot resume the run with other weights: {changed[0]}; give "
                "its checkpoint, or --writer.overwrite true to replace it"
            )
        self._settings = current

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write a batch: first its images, then its chunk of the tables."""
        if dataloader_idx:
            raise ValueError("expected one dataloader, got several; predict them one by one")
        for note in dict.fromkeys(batch["notes"]):
            self._warn(note)
        chunk = self.write_batch(prediction, batch)
        # Without an index: samplers distribute batches round-robin.
        index = batch.get("index", batch_idx * trainer.world_size + trainer.global_rank)
        metadata = {key: batch[key] for key in ("source", "notes")}
        metadata["pairs"] = len(batch["pairs"])
        table, columns = next(iter(self.tables.items()))
        table_rows = [as_csv(row, self.csv_formats) for row in chunk.rows.get(table, ())]
        self.chunks.add(index, chunk, metadata, columns, table_rows)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge the chunks; raise InputError if no pair was predicted."""
        if not self._is_open:
            return
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._merge(complete=True, finish=True)
        self._is_open = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Merge the chunks so far, without a barrier: other processes may have ended."""
        if not self._is_open:
            return
        self._is_open = False
        if trainer.is_global_zero:
            try:
                # Ctrl+C is the usual way to stop a camera.
                self._merge(complete=False, finish=isinstance(exception, KeyboardInterrupt))
            except InputError as error:  # a full disk, for example; the first error is raised
                self._warn(f"{error}; the chunks of the tables are in {self.chunks.folder}")
            self._print_summary()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Print the summary, after the progress bar has been closed."""
        if self.resume and stage == "predict":
            self._require_weights(pl_module)
        if self._is_open:  # Lightning skips the other hooks if there is no batch
            self.on_predict_end(trainer, pl_module)
        self._print_summary()

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.output_path)

    @property
    def chunks(self) -> RunChunks:
        """The chunks of the run."""
        return RunChunks(self.folder)

    def _is_top_file(self, name: str) -> bool:
        patterns = (self.top_files, TEMPORARY_FILE)
        names = {SUMMARY_FILE, *(f"{table}.csv" for table in self.tables)}
        return name in names or any(pattern.fullmatch(name) for pattern in patterns)

    def _merge(self, complete: bool, finish: bool) -> None:
        """Write tables and summary from all chunks; remove these if the run is complete."""
        chunks = self.chunks
        counted = summarize(chunks, next(iter(self.tables)))
        if counted["pairs"]:
            self.write_tables(chunks)
            self._outputs = dict(self.finish(chunks)) if finish else {}
            seconds = round(time.monotonic() - self._start, 3)
            self._summary = {"complete": complete, **counted, "seconds": seconds}
            self._summary["settings"] = self._settings
            write_text_atomic(self.folder / SUMMARY_FILE, as_json(self._summary))
        self._is_open = False  # from here on the tables are complete and the chunks are not
        written = {path.name for path in self.outputs_in(self.folder)}
        if complete or written <= {SETTINGS_FILE}:
            chunks.remove()
        if complete and not counted["pairs"]:
            first = next(iter(counted["skipped"]), None)
            reason = f"first error: {first}" if first else f"the data contain no {self.pair_noun}"
            raise InputError(f"{self.output_path}: nothing was matched; {reason}")

    def _warn_on_rank_zero(self, trainer: pl.Trainer, text: str) -> None:
        """Print a warning about the folder, from the first process only."""
        if trainer.is_global_zero:
            self._warn(f"{self.output_path}: {text}")

    def _warn(self, note: str) -> None:
        """Issue a warning, each text once."""
        if note not in self._warned:
            self._warned.add(note)
            warn(note)

    def _print_summary(self) -> None:
        """Print the summary once."""
        summary, self._summary = self._summary, None
        if summary is not None:
            outputs = {"images": self.folder / self.image_folder, **self._outputs}
            outputs["table"] = self.folder / f"{next(iter(self.tables))}.csv"
            print_summary(summary, self.row_noun, self.pair_noun, outputs)
