"""A resumed run writes the same files as an uninterrupted run."""

import json
import signal
from pathlib import Path

import pytest
import torch
from clip_runs import FailingMatcher, FiveClips, contents, predict

from patchmatch.core.errors import InputError
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.io.manifest import CHUNKS_FOLDER, SETTINGS_FILE
from patchmatch.writing.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _keep_the_signal_handler():
    handler = signal.getsignal(signal.SIGINT)  # Lightning ignores Ctrl+C after the first one
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def uninterrupted(tmp_path) -> dict[str, bytes]:
    """The files of an uninterrupted run."""
    predict(tmp_path / "uninterrupted")
    found = contents(tmp_path / "uninterrupted")
    assert len(found) == 4 + 3 * 10  # three tables, the summary, and three files a pair
    return found


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("fail_at", [0, 1, 4])
def test_stopped_run_resumes_at_the_next_batch(tmp_path, uninterrupted, fail_at, error):
    with pytest.raises((RuntimeError, SystemExit)):
        predict(tmp_path / "run", FailingMatcher(fail_at, error))
    model = predict(tmp_path / "run", resume=True)
    assert model.seen == list(range(fail_at, 5))
    assert contents(tmp_path / "run") == uninterrupted


def test_run_can_be_stopped_twice(tmp_path, uninterrupted):
    for fail_at in (1, 3):
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path / "run", FailingMatcher(fail_at), resume=True)
    assert predict(tmp_path / "run", resume=True).seen == [3, 4]
    assert contents(tmp_path / "run") == uninterrupted


def test_stopped_run_leaves_tables_and_chunks(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(2))
    assert (tmp_path / "changes.csv").read_text().count("\n") == 1 + 4 * 2
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is False
    assert {"chunks/000000.json", "chunks/000001.json", "chunks/run.json"} <= set(
        contents(tmp_path)
    )


def test_resume_without_an_earlier_run_starts_a_new_one(tmp_path, uninterrupted):
    assert predict(tmp_path / "run", resume=True).seen == [0, 1, 2, 3, 4]
    assert contents(tmp_path / "run") == uninterrupted


def test_finished_run_is_kept_and_its_remaining_chunks_are_removed(
    tmp_path, uninterrupted, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", lambda self: None)  # killed before
        predict(tmp_path / "run")
    (tmp_path / "run" / CHUNKS_FOLDER / SETTINGS_FILE).unlink()
    assert (tmp_path / "run" / CHUNKS_FOLDER / "000004.json").exists()
    with pytest.warns(UserWarning, match="the run is already complete"):
        assert predict(tmp_path / "run", resume=True).seen == []
    assert contents(tmp_path / "run") == uninterrupted


class Killed(BaseException):
    """Simulates a kill: it is not handled."""


FILES = [
    *("chunks/run.json", "topk_diffs/top20_f005.png", "flow/f005.flo", "fields/f005.npz"),
    *("chunks/000002.csv", "chunks/000002.json", "changes.csv", "pairs.csv", "changes.jsonl"),
    *("summary.json",),
]


@pytest.mark.parametrize("last", FILES)
@pytest.mark.parametrize("before", [True, False])
def test_kill_at_any_file_can_be_resumed(tmp_path, uninterrupted, monkeypatch, last, before):
    """The kill occurs just before or just after a file is renamed to its final name."""
    folder, real = tmp_path / "run", Path.replace

    def replace(path: Path, target: Path) -> Path:
        is_last = target == folder / last
        if is_last and before:
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # not cleaned up
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
    assert contents(folder) == uninterrupted


@pytest.mark.parametrize("count", range(13))
def test_kill_while_chunks_are_removed_can_be_resumed(tmp_path, uninterrupted, monkeypatch, count):
    folder, real, remaining = tmp_path / "run", Path.unlink, [count]

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.parent == folder / CHUNKS_FOLDER and path.exists():
            remaining[0] -= 1
            if remaining[0] < 0:
                raise Killed
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(ChangeBoxes, "on_exception", lambda *_: None)
        if count < 12:  # run.json, ten files of five clips, the list of files
            with pytest.raises(Killed):
                predict(folder)
        else:
            predict(folder)
    predict(folder, resume=True)
    assert contents(folder) == uninterrupted


def test_damaged_chunk_is_predicted_again(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError):
        predict(tmp_path / "run", FailingMatcher(3))
    (tmp_path / "run/chunks/000001.json").write_text('{"rows": ')
    assert predict(tmp_path / "run", resume=True).seen == [1, 3, 4]
    assert contents(tmp_path / "run") == uninterrupted


def test_stopped_run_without_resume_or_overwrite_raises(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(1))
    before = contents(tmp_path)
    message = r"contains an unfinished run; .*--writer.resume true.*--writer.overwrite true.*_path$"
    with pytest.raises(InputError, match=message):
        predict(tmp_path)
    assert contents(tmp_path) == before


def test_stopped_run_can_be_overwritten(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path / "run", FailingMatcher(1), top_k=1)
    assert predict(tmp_path / "run", overwrite=True).seen == [0, 1, 2, 3, 4]
    assert contents(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("finished", [False, True])
def test_resume_with_other_settings_raises(tmp_path, finished):
    if finished:
        predict(tmp_path)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path, FailingMatcher(1))
    before = contents(tmp_path)
    message = r"data.batch_size was 2 and is 3, writer.min_score was 0.25 and is 0.5; give its"
    with pytest.raises(InputError, match=message):
        predict(tmp_path, batch_size=3, min_score=0.5, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stop", [2, None])
def test_resume_with_other_weights_raises(tmp_path, stop):
    if stop is None:
        predict(tmp_path)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            predict(tmp_path, FailingMatcher(stop))
    before = contents(tmp_path)
    model = FailingMatcher()
    torch.nn.init.ones_(model.weight)
    with pytest.raises(InputError, match=r"other weights: matcher.state_dict was \w+ and is \w+;"):
        predict(tmp_path, model, resume=True)
    assert model.seen == []
    assert contents(tmp_path) == before


def test_resume_with_another_folder_name_and_number_of_workers(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path / "run", FailingMatcher(2))
    (tmp_path / "run").rename(tmp_path / "moved")
    assert predict(tmp_path / "moved", resume=True).seen == [2, 3, 4]
    assert contents(tmp_path / "moved") == uninterrupted


def test_resume_of_a_run_without_settings_raises(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(2))
    (tmp_path / CHUNKS_FOLDER / SETTINGS_FILE).unlink()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="contains an earlier run"):
        predict(tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_damaged_settings_file_raises(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(2))
    (tmp_path / CHUNKS_FOLDER / SETTINGS_FILE).write_text("{")
    with pytest.raises(InputError, match=r"run.json: is damaged; remove it"):
        predict(tmp_path, resume=True)


def test_data_module_without_skip_raises(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(tmp_path, FailingMatcher(2))
    monkeypatch.delattr(FiveClips, "skip")
    with pytest.raises(ValueError, match="requires a data module with skip"):
        predict(tmp_path, resume=True)
