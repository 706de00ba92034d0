"""What every writer shares: a folder for the run, one table, a summary, whatever happens."""

import abc
import collections
import contextlib
import inspect
import itertools
import json
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from rich.console import Console

from patchmatch.errors import InputError
from patchmatch.io import (
    natural_key,
    read_bytes,
    read_csv,
    require_writable_folder,
    write_csv,
    write_text_atomic,
)

Row = Mapping[str, object]

_SUMMARY = "summary.json"
_PARTS = "parts"
_PART_NAME = re.compile(r"\d{6,}-\d+\.(csv|json)")
_LEFT_BY_A_KILL = re.compile(r"\.[0-9a-f]{12}\.tmp\.\w+")  # see patchmatch.io.atomic_path


class PredictionWriter(BasePredictionWriter, abc.ABC):
    """Write predictions into a folder, batch by batch.

    A subclass names what it makes in the class attributes and makes it in ``write_batch``. A
    batch is a mapping with ``source``, ``pairs`` and ``notes``, as a ``Clip`` is.

    Each batch leaves whole pictures and a whole part of the table in ``parts``, so a killed run
    loses one batch at most. The parts become one table when the run ends, be it by an error or by
    Ctrl+C. Several processes write parts of their own; the first one merges them.

    Args:
        output_path: Folder for the table, the pictures and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.

    Attributes:
        table: Name of the table in the folder.
        columns: Header of the table; rows with a ``kind`` are counted by it.
        pictures: Name of the subfolder of the pictures.
        picture_name: What the names of pictures match, in that folder or one below it.
        things: What a row of the table is, in the plural.
    """

    table: ClassVar[str]
    columns: ClassVar[Sequence[str]]
    pictures: ClassVar[str]
    picture_name: ClassVar[re.Pattern[str]]
    things: ClassVar[str]

    def __init__(self, output_path: str = "data/output", overwrite: bool = False) -> None:
        super().__init__(write_interval="batch")
        self.output_path = output_path
        self.overwrite = overwrite
        self._is_open = False
        self._start = 0.0
        self._told: set[str] = set()
        self._summary: dict[str, Any] | None = None

    @abc.abstractmethod
    def write_batch(self, prediction: Any, batch: Any) -> list[Row]:
        """Write the pictures of a batch and return its rows of the table, one prediction a pair."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that the folder can be used, before anything is computed.

        Raises:
            InputError: If it cannot be written, or holds a run that must not be overwritten.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        # Lightning asks for the indices of samples, which a stream of clips does not have.
        warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")
        require_writable_folder(self.output_path)
        former = self._files_of_a_run()
        if former and not self.overwrite:
            raise InputError(
                f"{self.output_path}: holds a former run already; give --writer.overwrite true to "
                "replace it, or another --writer.output_path"
            )
        trainer.strategy.barrier()  # all processes have looked before one changes anything
        if trainer.is_global_zero:
            _remove(former)
        trainer.strategy.barrier()
        self._start = time.monotonic()
        self._told = set()
        self._summary = None
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
        """Write a batch: its pictures first, then its part of the table."""
        if dataloader_idx:
            raise ValueError("a writer must have one dataloader, got several; predict one by one")
        for note in dict.fromkeys(batch["notes"]):
            self._tell(note)
        rows = self.write_batch(prediction, batch)
        record = {
            "source": batch["source"],
            "pairs": len(batch["pairs"]),
            "rows": len(rows),
            "kinds": collections.Counter(row["kind"] for row in rows if "kind" in row),
            "notes": batch["notes"],
        }
        # The process comes last: samplers deal batches out in turn, so this is the order of frames.
        stem = f"{batch_idx:06d}-{trainer.global_rank}"
        write_text_atomic(self._parts / f"{stem}.json", json.dumps(record) + "\n")
        write_csv(self._parts / f"{stem}.csv", self.columns, rows)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge the parts.

        Raises:
            InputError: If no pair at all was predicted.
        """
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._finish(complete=True)
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
                self._finish(complete=False)
            except InputError as error:  # a full disk, say: the first error is the one to report
                self._tell(f"{error}; the parts of the table are in {self._parts}")
            self._print_summary()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell what was done, now that no progress bar writes over it."""
        if self._is_open:  # without any batch Lightning leaves the other hooks out
            self.on_predict_end(trainer, pl_module)
        self._print_summary()

    @property
    def _folder(self) -> Path:
        return Path(self.output_path)

    @property
    def _parts(self) -> Path:
        return self._folder / _PARTS

    def _files_of_a_run(self) -> list[Path]:
        """Return what this run or a former one has left in the folder, and nothing else."""
        pictures = self._folder / self.pictures
        places = (
            (self._folder, "*", re.compile(rf"{re.escape(self.table)}|{re.escape(_SUMMARY)}")),
            (self._parts, "*", _PART_NAME),
            (pictures, "*", self.picture_name),
            (pictures, "*/*", self.picture_name),
        )
        return [
            path
            for folder, pattern, name in places
            for path in sorted(folder.glob(pattern))
            if path.is_file()
            and (name.fullmatch(path.name) or _LEFT_BY_A_KILL.fullmatch(path.name))
        ]

    def _finish(self, complete: bool) -> None:
        """Make one table and the summary of all parts, then remove the parts."""
        parts = [path for path in self._parts.glob("*.csv") if _PART_NAME.fullmatch(path.name)]
        tables = sorted(parts, key=lambda path: natural_key(path.name))
        records = [json.loads(read_bytes(path.with_suffix(".json"))) for path in tables]
        notes = list(dict.fromkeys(note for record in records for note in record["notes"]))
        pairs = sum(record["pairs"] for record in records)
        if pairs:
            kinds = sum((collections.Counter(r["kinds"]) for r in records), collections.Counter())
            summary = {
                "complete": complete,
                "sources": len({record["source"] for record in records}),
                "pairs": pairs,
                "rows": sum(record["rows"] for record in records),
                "kinds": dict(sorted(kinds.items())),
                "skipped": notes,
                "seconds": round(time.monotonic() - self._start, 3),
                "settings": self._settings(),
            }
            rows = itertools.chain.from_iterable(read_csv(path, self.columns) for path in tables)
            write_csv(self._folder / self.table, self.columns, rows)
            text = json.dumps(summary, indent=2, ensure_ascii=False)
            write_text_atomic(self._folder / _SUMMARY, text + "\n")
            self._summary = summary
        self._is_open = False  # from here on the table is whole and the parts are not
        _remove([path for path in self._files_of_a_run() if path.parent == self._parts])
        with contextlib.suppress(OSError):  # something else lies in it
            self._parts.rmdir()
        if complete and not pairs:
            reason = f"the first reason: {notes[0]}" if notes else "the data holds none"
            raise InputError(f"{self.output_path}: no pair could be predicted; {reason}")

    def _settings(self) -> dict[str, object]:
        """Return the constructor's arguments, which a writer keeps under their own names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _tell(self, note: str) -> None:
        """Print a note on stderr unless it was printed before."""
        if note not in self._told:
            self._told.add(note)
            console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
            console.print(f"warning: {note}", style="yellow")

    def _print_summary(self) -> None:
        """Say in a few lines what was done and where it lies, once."""
        summary, self._summary = self._summary, None
        if summary is None:
            return
        console = Console(soft_wrap=True, highlight=False, markup=False)
        if not summary["complete"]:
            console.print("stopped before the end; what was done until then is whole", style="red")
        sources = "" if summary["sources"] == 1 else f" of {summary['sources']} sequences"
        counts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in summary["kinds"].items())
        console.print(
            f"{summary['pairs']} pairs{sources}: {summary['rows']} {self.things}"
            + (f" ({counts})" if counts else "")
        )
        if (pictures := self._folder / self.pictures).is_dir():
            console.print(f"pictures  {pictures}")
        console.print(f"table     {self._folder / self.table}")


def _remove(paths: Sequence[Path]) -> None:
    """Remove files; those that are gone already are fine."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{path}: cannot be removed: {reason}; remove it, or choose another folder"
            ) from error
