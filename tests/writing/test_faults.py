"""After any fault of disk or machine, --writer.resume true gives the files of an undisturbed run.

Each test runs over the steps of a run at which the disk changes: every fourth one by default, the
others with the slow tests.
"""

import itertools
import signal
from pathlib import Path

import pytest
from clip_runs import FailingMatcher, FiveClips, contents, predict
from faults import Faults, Killed, jump_the_clock

from patchmatch.core.errors import InputError
from patchmatch.frames.writer import ChangeBoxes

OPTIONS = {"formats": ["jsonl"], "report": True}
STEPS = [0, *(pytest.param(first, marks=pytest.mark.slow) for first in (1, 2, 3))]


@pytest.fixture
def faults(monkeypatch) -> Faults:
    monkeypatch.setattr(FiveClips, "count", 2)
    return Faults(monkeypatch)


@pytest.fixture(autouse=True)
def _keep_the_signal_handler():
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def undisturbed(tmp_path, faults) -> dict[str, bytes]:
    """The files of an undisturbed run over two clips."""
    predict(tmp_path / "undisturbed", **OPTIONS)
    return contents(tmp_path / "undisturbed")


def run_killed(folder: Path, faults: Faults, at: int, **options: object) -> None:
    """Run until the kill at a step, or to the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChangeBoxes, "on_exception", lambda self, *_: self.release())
        faults.start("kill", at)
        try:
            predict(folder, **OPTIONS, **options)
        except Killed:
            assert faults.happened
    faults.stop()


@pytest.mark.parametrize("first", STEPS)
def test_kill_at_any_step_of_a_run(tmp_path, faults, undisturbed, first):
    for at in itertools.count(first, 4):
        run_killed(tmp_path / f"{at}", faults, at)
        predict(tmp_path / f"{at}", resume=True, **OPTIONS)
        assert contents(tmp_path / f"{at}") == undisturbed, at
        if not faults.happened:
            break
    assert at > 40  # two clips have so many steps


@pytest.mark.parametrize("first", STEPS)
def test_kill_at_any_step_of_a_resumed_run(tmp_path, faults, undisturbed, first):
    for at in itertools.count(first, 4):
        run_killed(tmp_path / f"{at}", faults, 30)
        run_killed(tmp_path / f"{at}", faults, at, resume=True)
        predict(tmp_path / f"{at}", resume=True, **OPTIONS)
        assert contents(tmp_path / f"{at}") == undisturbed, at
        if not faults.happened:
            break
    assert at > 20


@pytest.mark.parametrize("first", STEPS)
def test_kill_at_any_step_of_a_run_that_replaces_another(tmp_path, faults, undisturbed, first):
    """Either the earlier or the new run can be completed; what no run wrote is never touched."""
    predict(tmp_path / "earlier", top_k=1)
    earlier = contents(tmp_path / "earlier")
    for at in itertools.count(first, 4):
        folder = tmp_path / f"{at}"
        predict(folder, top_k=1)
        (folder / "topk_diffs/top20_mine.png").write_text("mine")
        run_killed(folder, faults, at, overwrite=True)
        assert (folder / "topk_diffs/top20_mine.png").read_text() == "mine"
        (folder / "topk_diffs/top20_mine.png").unlink()
        try:
            predict(folder, resume=True, **OPTIONS)
        except InputError:  # not replaced yet
            predict(folder, top_k=1, resume=True)
            assert contents(folder) == earlier, at
        else:
            assert contents(folder) == undisturbed, at
        if not faults.happened:
            break
    assert at > 60


@pytest.mark.parametrize("first", STEPS)
def test_full_disk_at_any_write(tmp_path, faults, undisturbed, first):
    for at in itertools.count(first, 4):
        faults.start("full", at)
        if at == first:
            with pytest.raises(InputError, match="the disk is full; free some space"):
                predict(tmp_path / f"{at}", **OPTIONS)
        else:
            try:
                predict(tmp_path / f"{at}", **OPTIONS)
            except InputError as error:
                assert "the disk is full" in str(error)  # noqa: PT017 - the last run succeeds
        faults.stop()
        predict(tmp_path / f"{at}", resume=True, **OPTIONS)
        assert contents(tmp_path / f"{at}") == undisturbed, at
        if not faults.happened:
            break
    assert at > 30


def test_removal_that_fails(tmp_path, faults, undisturbed):
    """A program that has a file open, on Windows, prevents its removal."""
    for at in itertools.count():
        faults.start("denied", at)
        try:
            predict(tmp_path / f"{at}", **OPTIONS)
        except InputError as error:
            assert "cannot be removed" in str(error)  # noqa: PT017
        faults.stop()
        predict(tmp_path / f"{at}", resume=True, **OPTIONS)
        assert contents(tmp_path / f"{at}") == undisturbed, at
        if not faults.happened:
            break
    assert at > 5


def test_read_error_in_the_middle(tmp_path, faults, undisturbed, monkeypatch):
    """The data loader fails, as when a disk is pulled out."""

    def fail(self: FailingMatcher, batch: dict, batch_idx: int) -> None:
        if batch_idx == 1:
            raise OSError(5, "Input/output error", "frame.png")

    with monkeypatch.context() as patch:
        patch.setattr(FailingMatcher, "on_predict_batch_start", fail)
        with pytest.raises(OSError, match="Input/output error"):
            predict(tmp_path / "run", **OPTIONS)
    assert predict(tmp_path / "run", resume=True, **OPTIONS).seen == [1]
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("damage", ["removed", "damaged", "without rows"])
def test_chunk_that_is_lost_before_the_tables_are_written(
    tmp_path, faults, undisturbed, monkeypatch, damage
):
    """Without the chunk the tables would be cut, and the summary would say they are complete."""
    chunk = tmp_path / "run/chunks/000000.json"

    def lose(self: FailingMatcher) -> None:
        if damage == "removed":
            chunk.unlink()
        else:
            chunk.write_text("{" if damage == "damaged" else "{}")

    with monkeypatch.context() as patch:
        patch.setattr(FailingMatcher, "on_predict_epoch_end", lose)
        message = rf"000000\.json: is {'missing' if damage == 'removed' else 'damaged'}; "
        with pytest.raises(InputError, match=message):
            predict(tmp_path / "run", **OPTIONS)
    assert predict(tmp_path / "run", resume=True, **OPTIONS).seen == [0]
    assert contents(tmp_path / "run") == undisturbed


def test_clock_that_jumps(tmp_path, faults, undisturbed, monkeypatch):
    jump_the_clock(monkeypatch)
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(folder, FailingMatcher(1), **OPTIONS)
    predict(folder, resume=True, **OPTIONS)
    assert contents(folder) == undisturbed
    predict(folder, overwrite=True, **OPTIONS)
    assert contents(folder) == undisturbed
