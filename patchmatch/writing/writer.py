"""Base class of prediction writers: the folder of a run, its tables and its summary."""

import abc
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from patchmatch.core.errors import InputError
from patchmatch.core.messages import Warner, counted
from patchmatch.io import write_csv
from patchmatch.io.manifest import SUMMARY_FILE
from patchmatch.writing.background import Background
from patchmatch.writing.chunks import Chunk, RunChunks
from patchmatch.writing.registry import require_writer_fits
from patchmatch.writing.rows import as_csv
from patchmatch.writing.run_folder import RunFolder, RunState, skip_batches
from patchmatch.writing.settings import input_files, run_settings
from patchmatch.writing.summary import print_summary, summarize


class PredictionWriter(BasePredictionWriter, abc.ABC):
    """Write predictions into a folder, batch by batch.

    A subclass declares its outputs in class attributes and writes them in ``write_batch``. A batch
    is a mapping with ``source``, ``pairs``, ``notes`` and optionally ``index``, such as ``Clip``.

    A thread writes the images and a chunk of the tables of each batch while the next one is
    predicted, so a killed run loses at most two batches and can be resumed. When the run ends,
    also by an error or Ctrl+C, the chunks are merged into tables, and removed if it is complete.
    With several processes, each writes its own chunks and the first merges them. Chunks are ordered
    by the index of the batch: tables depend neither on processes nor on interruptions.

    A run replaces and removes only files that summary.json or the chunks of an earlier run list as
    written by it and that are unchanged, and never its inputs. To be listed, files must be written
    by the functions of ``patchmatch.io`` or with ``atomic_path``.

    Args:
        output_path: Folder for the tables, images and summary.json; created if missing.
        overwrite: Replace the files of an earlier run there, when first results are ready.
        resume: Continue a run with the same settings that was stopped or killed. Without such a
            run it starts from the beginning; if the run is complete it does nothing.

    Attributes:
        tables: Columns of each table, by its name without suffix. Rows of the first one are
            counted by their ``kind`` if they have one.
        csv_formats: Format of the numbers of a column in csv files, for example ``.4f``.
        image_folder: Name of the subfolder of the images.
        row_noun: Plural noun for rows of the first table.
        batch_noun: Plural noun for batches.
        pair_noun: Plural noun for the pairs of a batch.
    """

    tables: ClassVar[Mapping[str, Sequence[str]]]
    csv_formats: ClassVar[Mapping[str, str]] = {}
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
        self._warn = Warner()
        self._folder: RunFolder | None = None
        self._settings: Mapping[str, Any] = {}
        self._withheld: list[tuple[Any, Any, int]] = []  # batches until there is a result
        self._background = Background()
        self._summary: dict[str, Any] | None = None
        self._outputs: dict[str, Path] = {}

    @abc.abstractmethod
    def write_batch(self, prediction: Any, batch: Any) -> Chunk:
        """Write the images of a batch and return its rows; ``prediction`` has an item per pair."""

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run on a dataset will write, as far as known.

        The run does not start if one of them exists and no run wrote it. Files that are not yielded
        are checked when they are written.

        Args:
            dataset: The dataset of the data module; None without one.
        """
        yield SUMMARY_FILE
        yield from (f"{table}.csv" for table in self.tables)

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables from all chunks, also those of the run that is resumed."""
        for name, columns in self.tables.items():
            rows = (as_csv(row, self.csv_formats) for row in chunks.rows(name))
            write_csv(self.folder / f"{name}.csv", columns, rows)

    def count(self, chunks: RunChunks) -> dict[str, Any]:
        """Return the counts of the summary."""
        return summarize(chunks, next(iter(self.tables)))

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write what needs all chunks, unless an error ended the run; return paths by label."""
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
        self.release()
        self._warn, self._summary, self._outputs = Warner(), None, {}
        folder = self._folder = RunFolder(self.output_path, trainer, self._warn)
        folder.open(
            run_settings(trainer, pl_module, self),
            self.planned_files(getattr(getattr(trainer, "datamodule", None), "dataset", None)),
            input_files(trainer, pl_module, self),
            self.overwrite,
            self.resume,
        )
        self._settings = folder.settings
        done = self.chunks.completed() if folder.state is RunState.UNFINISHED else []
        trainer.strategy.barrier()  # all processes read the state before one changes it
        folder.start()
        trainer.strategy.barrier()
        self._start, self._withheld = time.monotonic(), []
        self._is_open = folder.state is not RunState.FINISHED
        if folder.state is RunState.FINISHED:
            trainer.limit_predict_batches = 0
            self._warn_on_rank_zero(trainer, "the run is already complete; nothing to do")
        elif done and getattr(pl_module, "is_sequential", False):
            text = "resuming; every result depends on the frames before, so all are read again"
            self._warn_on_rank_zero(trainer, text)
        elif done:
            skip_batches(trainer, done, self._settings["data"].get("clips"))
            verb = "is" if len(done) == 1 else "are"
            text = f"resuming; {counted(len(done), self.batch_noun)} {verb} already complete"
            self._warn_on_rank_zero(trainer, text)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the weights, which Lightning loads after ``setup``, to the settings."""
        if self._folder is not None:
            self._is_open = False  # if they are wrong, no file changes
            self._settings = self._folder.add_weights(pl_module)
            self._is_open = True

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
        # Without an index: samplers distribute batches round-robin.
        index = batch.get("index", batch_idx * trainer.world_size + trainer.global_rank)
        self._withheld.append((prediction, batch, index))
        if batch["pairs"] or not self._keeps_earlier_run:
            self._write_withheld(trainer)

    @property
    def _keeps_earlier_run(self) -> bool:  # until there is a result
        return self._folder is not None and self._folder.state is RunState.REPLACED

    def _write_withheld(self, trainer: pl.Trainer) -> None:
        """Write the batches so far, in place of the earlier run if there is one."""
        assert self._folder is not None
        if self._keeps_earlier_run:
            self._folder.replace(trainer)
        for batch in self._withheld:
            self._background.run(self._write_chunk, self._folder, *batch)
        self._withheld = []

    def _write_chunk(self, folder: RunFolder, prediction: Any, batch: Any, index: int) -> None:
        table, columns = next(iter(self.tables.items()))
        with folder.observe():
            chunk = self.write_batch(prediction, batch)
            metadata = {k: batch[k] for k in ("source", "notes")} | {"pairs": len(batch["pairs"])}
            rows = [as_csv(row, self.csv_formats) for row in chunk.rows.get(table, ())]
            self.chunks.add(index, chunk, metadata, columns, rows)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge the chunks; raise InputError if no pair was predicted."""
        if not self._is_open:
            return
        if self._keeps_earlier_run and trainer.world_size > 1:  # others may have results
            self._write_withheld(trainer)
        self._background.wait()
        if self._keeps_earlier_run:
            self._is_open = False
            self._raise_nothing_matched([n for _, b, _ in self._withheld for n in b["notes"]])
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._merge(complete=True, finish=True)
        self._is_open = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Merge the chunks so far, without a barrier: other processes may have ended."""
        is_open, self._is_open = self._is_open and not self._keeps_earlier_run, False
        if is_open and trainer.is_global_zero:
            try:
                self._background.wait()
                # Ctrl+C is the usual way to stop a camera.
                self._merge(complete=False, finish=isinstance(exception, KeyboardInterrupt))
            except InputError as error:  # a full disk, for example; the first error is raised
                self._warn(f"{error}; the chunks of the tables are in {self.chunks.folder}")
            self._print_summary()
        self.release()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Print the summary, after the progress bar has been closed."""
        # Lightning skips the other hooks if there is no batch.
        if self._folder is not None and self._folder.state is RunState.FINISHED:
            self._folder.add_weights(pl_module)
        if self._is_open:
            self.on_predict_start(trainer, pl_module)
            self.on_predict_end(trainer, pl_module)
        self._print_summary()
        self.release()

    def release(self) -> None:
        """Allow other runs to use the folder."""
        self._background.close()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.output_path)

    @property
    def chunks(self) -> RunChunks:
        """The chunks of the run."""
        return RunChunks(self.folder)

    def _merge(self, complete: bool, finish: bool) -> None:
        """Write tables and summary from all chunks; remove these if the run is complete."""
        folder, chunks = self._folder, self.chunks
        assert folder is not None
        if complete:
            folder.require_chunks()
        counts = self.count(chunks)
        if counts["pairs"]:
            with folder.observe():
                self.write_tables(chunks)
                self._outputs = dict(self.finish(chunks)) if finish else {}
                self._summary = {
                    "complete": complete,
                    **counts,
                    "seconds": round(time.monotonic() - self._start, 3),
                    "settings": self._settings,
                }
                folder.write_summary(self._summary)
        self._is_open = False  # the tables are complete, and the chunks soon are not
        folder.end(complete, has_pairs=counts["pairs"] > 0)
        if complete and not counts["pairs"]:
            self._raise_nothing_matched(counts["skipped"])

    def _raise_nothing_matched(self, notes: Sequence[str]) -> NoReturn:
        reason = f"first error: {notes[0]}" if notes else f"the data contain no {self.pair_noun}"
        raise InputError(f"{self.output_path}: nothing was matched; {reason}")

    def _warn_on_rank_zero(self, trainer: pl.Trainer, text: str) -> None:
        if trainer.is_global_zero:
            self._warn(f"{self.output_path}: {text}")

    def _print_summary(self) -> None:
        """Print the summary once."""
        summary, self._summary = self._summary, None
        if summary is not None:
            outputs = {"images": self.folder / self.image_folder, **self._outputs}
            outputs["table"] = self.folder / f"{next(iter(self.tables))}.csv"
            print_summary(summary, self.row_noun, self.pair_noun, outputs)
