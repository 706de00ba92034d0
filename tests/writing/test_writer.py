"""The base class of writers, tested with a minimal subclass."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
from program_runs import quiet_trainer
from torch.utils.data import DataLoader

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv, write_text_atomic
from patchmatch.writing.chunks import Chunk, RunChunks
from patchmatch.writing.writer import PredictionWriter


class TextWriter(PredictionWriter):
    """Writes a text for each image pair, and at the end a book of all texts."""

    tables: ClassVar = {
        "matches": ("pair", "x", "score", "sure", "kind"),
        "pairs": ("pair", "matches"),
    }
    csv_formats: ClassVar = {"score": ".2f"}
    image_folder = "texts"
    row_noun = "matches"

    def __init__(self, output_path: str, overwrite: bool = False, resume: bool = False) -> None:
        super().__init__(output_path, overwrite, resume)

    def write_batch(self, prediction: list[float], batch: Any) -> Chunk:
        rows = [
            {"pair": batch["source"], "x": None, "score": s, "sure": s > 0.5, "kind": "point"}
            for s in prediction
        ]
        write_text_atomic(self.folder / "texts" / f"{batch['source']}.txt", "drawn")
        pairs = [{"pair": batch["source"], "matches": len(rows)}]
        pages = [{"source": batch["source"]}]
        files = {"page.jpg": batch["source"].encode()}
        return Chunk(rows={"matches": rows, "pairs": pairs, "pages": pages}, files=files)

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        pages = [chunks.file(index, "page.jpg").read_bytes() for index, _ in chunks.records()]
        names = [row["source"] for row in chunks.rows("pages")]
        assert names == [page.decode() for page in pages]
        write_text_atomic(self.folder / "book.txt", " ".join(names))
        return {"book": self.folder / "book.txt"}


class TwoPointMatcher(pl.LightningModule):
    """Finds two points in every pair."""

    def predict_step(self, batch: Any, batch_idx: int) -> list[float]:
        return [0.25, 0.75]


def batch(name: str, **options: object) -> dict[str, Any]:
    return {"source": name, "pairs": [(0, 1)], "notes": []} | options


def predict(folder: Path, batches: list[dict[str, Any]], **options: bool) -> None:
    loader = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore
    writer = TextWriter(str(folder), **options)
    quiet_trainer(writer).predict(TwoPointMatcher(), loader, return_predictions=False)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_tables_images_and_outputs_of_finish_are_written(tmp_path, capsys):
    predict(tmp_path, [batch("a"), batch("b")])
    expected = ["book.txt", "matches.csv", "pairs.csv", "summary.json", "texts/a.txt"]
    assert files(tmp_path) == [*expected, "texts/b.txt"]
    assert (tmp_path / "book.txt").read_text() == "a b"
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "2 pairs of 2 sequences: 4 matches (4 point)",
        f"images    {tmp_path / 'texts'}",
        f"book      {tmp_path / 'book.txt'}",
        f"table     {tmp_path / 'matches.csv'}",
    ]


def test_numbers_and_booleans_are_formatted_for_csv(tmp_path):
    predict(tmp_path, [batch("a")])
    assert (tmp_path / "matches.csv").read_text().splitlines() == [
        "pair,x,score,sure,kind",
        "a,,0.25,false,point",
        "a,,0.75,true,point",
    ]
    assert (tmp_path / "pairs.csv").read_text() == "pair,matches\na,2\n"


def test_overwrite_replaces_the_files_of_a_run_and_no_others(tmp_path):
    for name in ("mine.txt", "texts/mine.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    predict(tmp_path, [batch("a")])
    with pytest.raises(InputError, match="contains an earlier run"):
        predict(tmp_path, [batch("b")])
    predict(tmp_path, [batch("b")], overwrite=True)
    written = ["book.txt", "matches.csv", "pairs.csv", "summary.json", "texts/b.txt"]
    assert files(tmp_path) == sorted([*written, "mine.txt", "texts/mine.csv"])


def write_batch_of(writer: TextWriter, process: Any, batch_idx: int, **options: object) -> None:
    given = batch(f"p{batch_idx}", **options)
    writer.write_on_batch_end(process, TwoPointMatcher(), [0.5], None, given, batch_idx, 0)


def test_chunks_of_several_processes_are_merged_in_the_order_of_their_index(tmp_path):
    writer, process = TextWriter(str(tmp_path)), quiet_trainer()
    writer.setup(process, TwoPointMatcher(), "predict")
    for index in (3, 10, 0, 2):
        write_batch_of(writer, process, 0, index=index, source=f"p{index}")
    assert json.loads((tmp_path / "chunks/000010.json").read_text())["source"] == "p10"
    writer.on_predict_end(process, TwoPointMatcher())
    assert [row["pair"] for row in read_csv(tmp_path / "matches.csv")] == ["p0", "p2", "p3", "p10"]


def test_batches_without_an_index_are_numbered_round_robin(tmp_path):
    writer = TextWriter(str(tmp_path))
    writer.setup(quiet_trainer(), TwoPointMatcher(), "predict")

    class Process:
        world_size = 3

        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    for batch_idx, rank in ((1, 0), (0, 2), (0, 0)):
        write_batch_of(writer, Process(rank), batch_idx)
    writer.release()
    assert writer.chunks.completed() == [0, 2, 3]


def test_run_without_pairs_raises_with_the_first_note(tmp_path):
    batches = [batch("a", pairs=[], notes=["f001: truncated", "f002: missing"])]
    with pytest.raises(InputError, match=r"nothing was matched; first error: f001: truncated$"):
        predict(tmp_path, batches)
    assert files(tmp_path) == []  # also without texts/a.txt


@pytest.mark.filterwarnings("ignore:Total length of")
def test_run_without_batches_raises(tmp_path):
    with pytest.raises(InputError, match=r"nothing was matched; the data contain no pairs$"):
        predict(tmp_path, [])
    assert files(tmp_path) == []


def test_second_dataloader_raises(tmp_path):
    with pytest.raises(ValueError, match="one dataloader"):
        TextWriter(str(tmp_path)).write_on_batch_end(
            quiet_trainer(), TwoPointMatcher(), [], None, batch("a"), 0, dataloader_idx=1
        )
