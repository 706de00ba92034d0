"""An earlier run is replaced only on request, only by results, and never at the cost of others."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from clip_runs import FailingMatcher, FiveClips, contents, predict
from program_runs import quiet_trainer

from patchmatch.core.errors import InputError
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.io import lock as locks
from patchmatch.io.lock import FolderLock

TRUTH = {"flow/alley_1/frame_0001.flo": "truth", "colmap/sparse/cameras.txt": "model"}


class Killed(BaseException):
    """Simulates a kill: it is not handled."""


class ClipsOf(FiveClips):
    """Five clips that are read from given files."""

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self._files = files

    def input_files(self) -> list[Path]:
        return list(self._files)


class EmptyMatcher(FailingMatcher):
    """Gets clips without pairs."""

    def on_predict_batch_start(self, batch, batch_idx) -> None:
        batch["pairs"] = []


def predict_from(files: list[Path], folder: Path, **options: object) -> None:
    data, writer = ClipsOf(*files), ChangeBoxes(str(folder), **options)
    quiet_trainer(writer).predict(FailingMatcher(), datamodule=data, return_predictions=False)


def write_texts(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_folder_with_files_of_others_is_not_an_earlier_run(tmp_path):
    write_texts(tmp_path, TRUTH)
    predict(tmp_path, formats=["jsonl"])
    predict(tmp_path, formats=["jsonl"], overwrite=True)
    assert {name: (tmp_path / name).read_text() for name in TRUTH} == TRUTH


def test_overwrite_gives_the_files_of_a_new_run(tmp_path):
    predict(tmp_path / "new", top_k=1, formats=["npz"])
    predict(tmp_path / "run")
    with pytest.raises(InputError, match=r"contains an earlier run; give --writer\.overwrite true"):
        predict(tmp_path / "run", top_k=1, formats=["npz"])
    predict(tmp_path / "run", top_k=1, formats=["npz"], overwrite=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "new")


@pytest.mark.parametrize("stop", [None, 2])
def test_earlier_run_is_kept_until_there_is_a_result(tmp_path, stop):
    if stop is None:
        predict(tmp_path)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path, FailingMatcher(stop))
    before = contents(tmp_path)
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(0), top_k=1, overwrite=True)
    assert contents(tmp_path) == before
    with pytest.raises(InputError, match=r"nothing was matched; first error: note 0$"):
        predict(tmp_path, EmptyMatcher(), top_k=1, overwrite=True)
    assert contents(tmp_path) == before


def test_clips_without_pairs_before_the_first_result_are_counted(tmp_path):
    class EmptyAtFirst(EmptyMatcher):
        def on_predict_batch_start(self, batch, batch_idx) -> None:
            if batch_idx < 2:
                super().on_predict_batch_start(batch, batch_idx)

    predict(tmp_path)
    predict(tmp_path, EmptyAtFirst(), overwrite=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["pairs"] == 6
    assert summary["skipped"] == [f"note {index}" for index in range(5)]


@pytest.mark.parametrize("name", ["pairs.csv", "topk_diffs/top20_f003.png"])
def test_input_that_an_earlier_run_wrote_is_not_replaced(tmp_path, name):
    predict(tmp_path)
    before = contents(tmp_path)
    message = rf"{name}: is an input of this run and an output of the run in .*; choose another"
    with pytest.raises(InputError, match=message):
        predict_from([tmp_path / name], tmp_path, overwrite=True)
    assert contents(tmp_path) == before


def test_mask_that_an_option_names_is_an_input(tmp_path):
    predict(tmp_path)
    mask = str(tmp_path / "topk_diffs/top20_f003.png")
    with pytest.raises(InputError, match="is an input of this run"):
        predict(tmp_path, roi=mask, overwrite=True)
    assert Path(mask).exists()


def test_output_that_the_user_changed_is_kept_and_named(tmp_path):
    predict(tmp_path)
    (tmp_path / "topk_diffs/top20_f003.png").write_text("my notes")
    with pytest.warns(UserWarning, match=r"top20_f003\.png: kept, because it changed after"):
        predict(tmp_path, top_k=1, overwrite=True)
    assert (tmp_path / "topk_diffs/top20_f003.png").read_text() == "my notes"
    (tmp_path / "pairs.csv").write_text("my table")
    with pytest.raises(InputError, match=r"pairs\.csv: exists, and was changed after a run wrote"):
        predict(tmp_path, top_k=1, overwrite=True)
    assert (tmp_path / "pairs.csv").read_text() == "my table"


def test_run_without_a_list_of_files_is_not_removed(tmp_path):
    predict(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    del summary["files"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    names = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="a run of an older version, which does not list its file"):
        predict(tmp_path, overwrite=True)
    assert set(tmp_path.rglob("*")) == names


@pytest.mark.parametrize("before", ["finished", "unfinished"])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 12, 13, 14, 20, 30, 45])
def test_kill_while_an_earlier_run_is_replaced_loses_nothing_that_is_needed(
    tmp_path, monkeypatch, before, count
):
    """Afterwards either run can be completed, and the folder has its files and no others."""
    options = {"top_k": 1, "formats": ["npz"]}
    predict(tmp_path / "new", **options)
    predict(tmp_path / "old")
    folder = tmp_path / "run"
    if before == "finished":
        predict(folder)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(folder, FailingMatcher(4))
    real, remaining = Path.unlink, [count]

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            remaining[0] -= 1
            if remaining[0] < 0:
                raise Killed
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(ChangeBoxes, "on_exception", lambda self, *_: self.release())
        with pytest.raises(Killed):
            predict(folder, overwrite=True, **options)
    try:
        predict(folder, resume=True, **options)
        expected = contents(tmp_path / "new")
    except InputError:  # the earlier run is not replaced yet, or is lost
        try:
            predict(folder, resume=True)
            expected = contents(tmp_path / "old")
        except InputError:
            predict(folder, overwrite=True, **options)
            expected = contents(tmp_path / "new")
    assert contents(folder) == expected


def run_until_told(folder: str, started, go) -> None:
    class Waiting(FailingMatcher):
        def on_predict_batch_start(self, batch, batch_idx) -> None:
            started.set()
            go.wait(60)

    Waiting.__name__ = FailingMatcher.__name__  # a setting of the run
    predict(Path(folder), Waiting())


@pytest.mark.parametrize("option", [{}, {"resume": True}, {"overwrite": True}])
def test_second_run_in_a_folder_is_told_which_process_uses_it(tmp_path, option):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    started, go = context.Event(), context.Event()
    first = context.Process(target=run_until_told, args=(str(tmp_path / "run"), started, go))
    first.start()
    assert started.wait(60)
    try:
        with pytest.raises(InputError, match=rf"another run uses this folder: process {first.pid}"):
            predict(tmp_path / "run", **option)
    finally:
        go.set()
        first.join(60)
    assert first.exitcode == 0
    predict(tmp_path / "alone")
    assert contents(tmp_path / "run") == contents(tmp_path / "alone")


def test_file_system_without_locks_warns_once_and_runs(tmp_path, monkeypatch):
    def cannot_lock(file: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "_lock", cannot_lock)
    with pytest.warns(UserWarning, match="this file system cannot lock files") as issued:
        predict(tmp_path)
    message = "this file system cannot lock files (No locks available); do not start another run"
    assert sum(message in str(warning.message) for warning in issued) == 1
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is True


@pytest.mark.parametrize("fail_at", [-1, 2])
def test_folder_is_unlocked_after_the_run(tmp_path, fail_at):
    try:
        predict(tmp_path, FailingMatcher(fail_at))
    except RuntimeError:
        assert fail_at == 2
    assert not FolderLock(tmp_path).path.exists()
