"""A run that was stopped goes on, and leaves what a run in one go would have left."""

import json
import re
import signal
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from whole_runs import quiet_trainer

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.writing.chunks import CHUNKS, RUN


def clip(index: int) -> Clip:
    """Return three noisy frames of 24 rows and 30 columns, which are two pairs."""
    rng = np.random.default_rng(index)
    return {
        "index": index,
        "source": "cows",
        "several": False,
        "frames": torch.zeros(3, 1, 24, 30),
        "images": [rng.integers(0, 256, (24, 30), np.uint8) for _ in range(3)],
        "names": [f"f{2 * index + number:03d}" for number in range(3)],
        "times": [0.5 * (2 * index + number) for number in range(3)],
        "pairs": [(0, 1), (1, 2)],
        "notes": [f"note {index}"],
    }  # type: ignore[return-value]


class Stream(pl.LightningDataModule):
    """Five clips, less those that are to be skipped."""

    def __init__(self, batch_size: int = 2, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.dataset = [clip(index) for index in range(5)]

    def skip(self, done: Collection[int]) -> None:
        self.dataset = [clip for clip in self.dataset if clip["index"] not in done]

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.dataset, batch_size=None, collate_fn=lambda batch: batch)


class Toy(pl.LightningModule):
    """Finds two blocks in every pair, remembers which clips it saw, and fails at one of them."""

    def __init__(self, fail_at: int = -1, error: type[BaseException] = RuntimeError) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, 2))
        self._stop = (fail_at, error)  # no setting
        self.seen: list[int] = []

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        index = batch["index"]  # type: ignore[typeddict-item]
        if index == self._stop[0]:
            raise self._stop[1]("in the middle")
        self.seen.append(index)
        return [
            FrameChanges(
                batch["source"],
                batch["names"][first],
                batch["names"][second],
                boxes=torch.tensor([[0, 0, 8, 8], [10 + index, 5, 18 + index, 13]]),
                displacement=torch.tensor([[1.0, 0.0], [index + 1.25, first]]),
                kind=torch.tensor([Kind.ONE_PIXEL, Kind.LARGER]),
                score=torch.tensor([0.5, 0.75]),
                matched=torch.tensor([True, True]),
                confidence=torch.tensor([0.9, 0.8]),
                time0=batch["times"][first],
                time1=batch["times"][second],
            )
            for first, second in batch["pairs"]
        ]


def predict(folder: Path, model: Toy | None = None, batch_size: int = 2, **options: object) -> Toy:
    model = model or Toy()
    writer = ChangeBoxes(str(folder), **{"formats": ["jsonl", "flo", "npz"]} | options)
    quiet_trainer(writer).predict(model, datamodule=Stream(batch_size), return_predictions=False)
    return model


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file by its name; of the summary all but the seconds."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if "summary.json" in found:
        found["summary.json"] = re.sub(rb'"seconds": [0-9.]+', b"", found["summary.json"])
    return found


@pytest.fixture(autouse=True)
def _keep_the_signal_handler():
    handler = signal.getsignal(signal.SIGINT)  # Lightning ignores Ctrl+C for good after the first
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    """What a run in one go leaves."""
    predict(tmp_path / "whole")
    found = contents(tmp_path / "whole")
    assert len(found) == 4 + 3 * 10  # three tables, the summary, and three files a pair
    return found


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("fail_at", [0, 1, 4])
def test_a_stopped_run_goes_on_where_it_was(tmp_path, whole, fail_at, error):
    with pytest.raises((RuntimeError, SystemExit)):
        predict(tmp_path / "run", Toy(fail_at, error))
    model = predict(tmp_path / "run", resume=True)
    assert model.seen == list(range(fail_at, 5))
    assert contents(tmp_path / "run") == whole


def test_a_run_may_be_stopped_twice(tmp_path, whole):
    for fail_at in (1, 3):
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path / "run", Toy(fail_at), resume=True)
    assert predict(tmp_path / "run", resume=True).seen == [3, 4]
    assert contents(tmp_path / "run") == whole


def test_the_tables_of_a_stopped_run_are_there_and_so_are_its_parts(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, Toy(2))
    assert (tmp_path / "changes.csv").read_text().count("\n") == 1 + 4 * 2
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is False
    assert {"chunks/000000.json", "chunks/000001.json", "chunks/run.json"} <= set(
        contents(tmp_path)
    )


def test_without_anything_to_resume_a_run_simply_starts(tmp_path, whole):
    assert predict(tmp_path / "run", resume=True).seen == [0, 1, 2, 3, 4]
    assert contents(tmp_path / "run") == whole


def test_a_finished_run_is_left_alone_and_its_last_parts_are_removed(tmp_path, whole, capsys):
    predict(tmp_path / "run")
    (tmp_path / "run" / CHUNKS).mkdir()  # killed while it removed them
    (tmp_path / "run" / CHUNKS / "000004.json").write_text("{}")
    assert predict(tmp_path / "run", resume=True).seen == []
    assert contents(tmp_path / "run") == whole
    assert "the run is complete already" in capsys.readouterr().err


class Killed(BaseException):
    """Stands for a kill: nothing is done about it."""


FILES = [
    *("chunks/run.json", "topk_diffs/top20_f005.png", "flow/f005.flo", "fields/f005.npz"),
    *("chunks/000002.csv", "chunks/000002.json", "changes.csv", "pairs.csv", "changes.jsonl"),
    *("summary.json",),
]


@pytest.mark.parametrize("last", FILES)
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_at_any_file_is_recovered(tmp_path, whole, monkeypatch, last, before):
    """The kill comes just before or just after a file is moved to its place."""
    folder, real = tmp_path / "run", Path.replace

    def replace(path: Path, target: Path) -> Path:
        is_last = target == folder / last
        if is_last and before:
            path.rename(path.with_name(".0123456789ab.tmp" + path.suffix))  # nobody tidies up
            raise Killed
        moved = real(path, target)
        if is_last:
            raise Killed
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(ChangeBoxes, "on_exception", lambda *_: None)
        with pytest.raises(Killed):
            predict(folder)
    predict(folder, resume=True)
    assert contents(folder) == whole


@pytest.mark.parametrize("count", range(12))
def test_a_kill_while_the_parts_are_removed_is_recovered(tmp_path, whole, monkeypatch, count):
    folder, real, left = tmp_path / "run", Path.unlink, [count]

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.parent == folder / CHUNKS and path.exists():
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(ChangeBoxes, "on_exception", lambda *_: None)
        if count < 11:  # run.json and ten files of five clips
            with pytest.raises(Killed):
                predict(folder)
        else:
            predict(folder)
    predict(folder, resume=True)
    assert contents(folder) == whole


def test_a_damaged_part_is_made_again(tmp_path, whole):
    with pytest.raises(RuntimeError):
        predict(tmp_path / "run", Toy(3))
    (tmp_path / "run/chunks/000001.json").write_text('{"rows": ')
    assert predict(tmp_path / "run", resume=True).seen == [1, 3, 4]
    assert contents(tmp_path / "run") == whole


def test_a_run_that_was_stopped_is_refused_without_resume_and_overwrite(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, Toy(1))
    before = contents(tmp_path)
    message = r"a run that was stopped; .*--writer.resume true.*--writer.overwrite true.*_path$"
    with pytest.raises(InputError, match=message):
        predict(tmp_path)
    assert contents(tmp_path) == before


def test_a_run_that_was_stopped_can_be_replaced(tmp_path, whole):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path / "run", Toy(1), top_k=1)
    assert predict(tmp_path / "run", overwrite=True).seen == [0, 1, 2, 3, 4]
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_with_other_settings_is_not_resumed(tmp_path, finished):
    if finished:
        predict(tmp_path)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path, Toy(1))
    before = contents(tmp_path)
    message = r"data.batch_size was 2 and is 3, writer.min_score was 0.25 and is 0.5; give those"
    with pytest.raises(InputError, match=message):
        predict(tmp_path, batch_size=3, min_score=0.5, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stop", [2, None])
def test_a_run_with_other_weights_is_not_resumed(tmp_path, stop):
    if stop is None:
        predict(tmp_path)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path, Toy(stop))
    before = contents(tmp_path)
    model = Toy()
    torch.nn.init.ones_(model.weight)
    with pytest.raises(InputError, match=r"other weights: matcher.state_dict was \w+ and is \w+;"):
        predict(tmp_path, model, resume=True)
    assert model.seen == []
    assert contents(tmp_path) == before


def test_workers_and_the_name_of_the_folder_do_not_matter(tmp_path, whole):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path / "run", Toy(2))
    (tmp_path / "run").rename(tmp_path / "moved")
    assert predict(tmp_path / "moved", resume=True).seen == [2, 3, 4]
    assert contents(tmp_path / "moved") == whole


def test_a_former_run_without_its_settings_is_not_resumed(tmp_path):
    (tmp_path / "changes.csv").write_text("old")
    with pytest.raises(InputError, match="holds a former run already"):
        predict(tmp_path, resume=True)
    assert (tmp_path / "changes.csv").read_text() == "old"


def test_a_damaged_record_of_the_run_is_told(tmp_path):
    (tmp_path / CHUNKS).mkdir()
    (tmp_path / CHUNKS / RUN).write_text("{")
    with pytest.raises(InputError, match=r"run.json: is damaged; remove it"):
        predict(tmp_path, resume=True)


def test_data_that_cannot_skip_is_refused(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, Toy(2))
    monkeypatch.delattr(Stream, "skip")
    with pytest.raises(ValueError, match="must have a data module that can skip clips"):
        predict(tmp_path, resume=True)
