"""What every writer shares: a folder for the run, its tables, a summary, whatever happens."""

import abc
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from rich.console import Console

from patchmatch.core.errors import InputError
from patchmatch.io import require_writable_folder, write_csv, write_text_atomic
from patchmatch.writing.chunks import (
    RUN,
    TEMPORARY_FILE,
    Chunk,
    RunChunks,
    as_json,
    files_of_a_run,
    remove,
    remove_empty,
)
from patchmatch.writing.registry import require_writer_fits
from patchmatch.writing.rows import as_csv
from patchmatch.writing.run_state import SUMMARY, RunState, require_usable
from patchmatch.writing.settings import differences, fingerprint, run_settings
from patchmatch.writing.summary import print_summary, summarize


class PredictionWriter(BasePredictionWriter, abc.ABC):
    """Write predictions into a folder, batch by batch.

    A subclass names what it makes in the class attributes and makes it in ``write_batch``. A
    batch is a mapping with ``source``, ``pairs``, ``notes`` and ``index``, as a ``Clip`` is.

    Each batch leaves whole pictures and a whole chunk of the tables in ``chunks``, so a killed run
    loses one batch at most, and can be resumed. The chunks become tables when the run ends, be it
    by an error or by Ctrl+C; at a good end they go. Several processes write chunks of their own,
    and the first one merges them: chunks are named by the index of the batch, so neither the
    number of processes nor a resumption changes the tables.

    Args:
        output_path: Folder for the tables, the pictures and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        resume: Go on where a run with the same settings was stopped or killed. Where there is
            none it starts afresh; where the run has come to its end there is nothing to do.

    Attributes:
        tables: Columns of each table, by its name without suffix. Rows of the first one with a
            ``kind`` are counted by it.
        csv_formats: How the numbers of a column are written into a csv file, ``.4f`` for example.
        top_files: What the names of other files directly in the folder match.
        subfolders: What the names of files match, in each subfolder or one folder below it.
        image_folder: Name of the subfolder of the images.
        row_noun: What a row of the first table is called, in the plural.
        batch_noun: What a batch is called, in the plural.
        pair_noun: What the pairs of a batch are called, in the plural.
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
        """Write the pictures of a batch and return its rows, one prediction a pair."""

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables from all chunks, those of a run that was stopped as well."""
        for name, columns in self.tables.items():
            rows = (as_csv(row, self.csv_formats) for row in chunks.rows(name))
            write_csv(self.folder / f"{name}.csv", columns, rows)

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Make what needs all chunks, unless an error has ended the run.

        Returns:
            Where it lies, by what it is.
        """
        return {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that matcher and folder can be used, before anything is computed.

        Raises:
            InputError: If the matcher finds something else than is written here; if the folder
                cannot be written, holds a run that must not be overwritten, or one to resume that
                had other settings.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        require_writer_fits(self, pl_module)
        # Lightning asks for the indices of samples, which a stream of clips does not have.
        warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")
        require_writable_folder(self.output_path)
        former = files_of_a_run(self.folder, self._is_top_file, self.subfolders)
        settings = run_settings(trainer, pl_module, self)
        state, self._settings = require_usable(
            self.output_path, former, settings, self.overwrite, self.resume
        )
        done = self.chunks.done() if state is RunState.UNFINISHED else []
        trainer.strategy.barrier()  # all processes have looked before one changes anything
        if trainer.is_global_zero:
            self._prepare_folder(former, state)
        trainer.strategy.barrier()
        self._warned, self._summary, self._outputs = set(), None, {}
        self._start = time.monotonic()
        self._is_open = state is not RunState.FINISHED
        if state is RunState.FINISHED:
            trainer.limit_predict_batches = 0
            self._print(trainer, "the run is complete already; nothing is left to do")
        elif done:
            self._skip(trainer, done)

    def _prepare_folder(self, former: Sequence[Path], state: RunState) -> None:
        """Remove what is in the way of the run, and open it."""
        if state is RunState.NEW:
            remove(former)
            remove_empty({path.parent for path in former} - {self.folder, self.chunks.folder})
            self.chunks.start(self._settings)
        elif state is RunState.FINISHED:  # killed while it removed its chunks, perhaps
            self.chunks.remove()
        remove([path for path in former if TEMPORARY_FILE.fullmatch(path.name)])

    def _skip(self, trainer: pl.Trainer, done: Sequence[int]) -> None:
        """Have the data leave out what was predicted already."""
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "skip"):
            raise ValueError(
                f"resume requires a data module with skip(), as Frames has, got "
                f"{type(data).__name__}"
            )
        data.skip(done)
        if len(done) == self._settings["data"].get("clips"):
            trainer.limit_predict_batches = 0  # else Lightning warns of empty data
        self._print(trainer, f"resumed; {len(done)} {self.batch_noun} were done before")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the weights, which Lightning loads after ``setup``."""
        self._require_weights(pl_module)
        if trainer.is_global_zero:
            self.chunks.start(self._settings)

    def _require_weights(self, pl_module: pl.LightningModule) -> None:
        """Raise InputError unless the weights are those of the run that goes on."""
        weights = {"state_dict": fingerprint(pl_module)}
        now = {**self._settings, "matcher": {**self._settings.get("matcher", {}), **weights}}
        if changed := differences(self._settings, now):
            raise InputError(
                f"{self.output_path}: the run to resume had other weights: {changed[0]}; give the "
                "checkpoint it had, or --writer.overwrite true to replace it"
            )
        self._settings = now

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
        """Write a batch: its pictures first, then its chunk of the tables."""
        if dataloader_idx:
            raise ValueError("a writer must have one dataloader, got several; predict one by one")
        for note in dict.fromkeys(batch["notes"]):
            self._warn(note)
        chunk = self.write_batch(prediction, batch)
        # Without an index of its own: samplers deal batches out in turn.
        index = batch.get("index", batch_idx * trainer.world_size + trainer.global_rank)
        about = {key: batch[key] for key in ("source", "notes")} | {"pairs": len(batch["pairs"])}
        table, columns = next(iter(self.tables.items()))
        shown = [as_csv(row, self.csv_formats) for row in chunk.rows.get(table, ())]
        self.chunks.add(index, chunk, about, columns, shown)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge the chunks.

        Raises:
            InputError: If no pair at all was predicted.
        """
        if not self._is_open:
            return
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._merge(complete=True, finish=True)
        self._is_open = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Merge what is there; the other processes may be gone, so nobody is waited for."""
        if not self._is_open:
            return
        self._is_open = False
        if trainer.is_global_zero:
            try:
                # Ctrl+C is how a camera comes to its end.
                self._merge(complete=False, finish=isinstance(exception, KeyboardInterrupt))
            except InputError as error:  # a full disk, say: the first error is the one to report
                self._warn(f"{error}; the chunks of the table are in {self.chunks.folder}")
            self._print_summary()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell what was done, now that no progress bar writes over it."""
        if self.resume and stage == "predict":
            self._require_weights(pl_module)
        if self._is_open:  # without any batch Lightning leaves the other hooks out
            self.on_predict_end(trainer, pl_module)
        self._print_summary()

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.output_path)

    @property
    def chunks(self) -> RunChunks:
        """What the batches have left so far."""
        return RunChunks(self.folder)

    def _is_top_file(self, name: str) -> bool:
        tables = {SUMMARY, *(f"{table}.csv" for table in self.tables)}
        return bool(
            name in tables or self.top_files.fullmatch(name) or TEMPORARY_FILE.fullmatch(name)
        )

    def _merge(self, complete: bool, finish: bool) -> None:
        """Make tables and summary of all chunks; they go when the run is complete."""
        chunks = self.chunks
        counted = summarize(chunks, next(iter(self.tables)))
        if counted["pairs"]:
            self.write_tables(chunks)
            self._outputs = dict(self.finish(chunks)) if finish else {}
            seconds = round(time.monotonic() - self._start, 3)
            self._summary = {"complete": complete, **counted, "seconds": seconds}
            self._summary["settings"] = self._settings
            write_text_atomic(self.folder / SUMMARY, as_json(self._summary))
        self._is_open = False  # from here on the tables are whole and the chunks are not
        left = files_of_a_run(self.folder, self._is_top_file, self.subfolders)
        if complete or all(path.name == RUN for path in left):
            chunks.remove()
        if complete and not counted["pairs"]:
            notes = counted["skipped"]
            reason = f"the first reason: {notes[0]}" if notes else "the data holds none"
            raise InputError(f"{self.output_path}: no pair could be predicted; {reason}")

    def _print(self, trainer: pl.Trainer, text: str) -> None:
        """Print something about the folder, once for all processes."""
        if trainer.is_global_zero:
            self._warn(f"{self.output_path}: {text}")

    def _warn(self, note: str) -> None:
        """Print a note on stderr unless it was printed before."""
        if note not in self._warned:
            self._warned.add(note)
            console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
            console.print(f"warning: {note}", style="yellow")

    def _print_summary(self) -> None:
        """Say in a few lines what was done and where it lies, once."""
        summary, self._summary = self._summary, None
        if summary is not None:
            places = {"pictures": self.folder / self.image_folder, **self._outputs}
            places["table"] = self.folder / f"{next(iter(self.tables))}.csv"
            print_summary(summary, self.row_noun, self.pair_noun, places)
