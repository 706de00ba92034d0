"""A run replaces and removes only files that a run listed as its own and that are unchanged."""

import json
import os
from pathlib import Path

import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import write_text_atomic
from patchmatch.io.atomic import observe_writes
from patchmatch.io.manifest import Manifest, outputs_in


def write(folder: Path, *names: str, text: str = "ours") -> Manifest:
    """Write files as a run does, and return its manifest."""
    manifest = Manifest(folder)
    with observe_writes(manifest):
        for name in names:
            write_text_atomic(folder / name, text)
    return manifest


def write_summary(folder: Path, files: list[dict]) -> None:
    content = {"complete": True, "settings": {}, "files": files}
    (folder / "summary.json").write_text(json.dumps(content))


def test_files_are_listed_before_they_have_their_names(tmp_path):
    manifest = Manifest(tmp_path)
    seen = []

    class Observer:
        begin = manifest.begin

        def ready(self, path: Path, temporary: Path) -> None:
            manifest.ready(path, temporary)
            seen.append((Manifest(tmp_path).names, path.exists()))

    with observe_writes(Observer()):
        write_text_atomic(tmp_path / "a" / "b.txt", "1")
    assert seen == [({"a/b.txt"}, False)]
    assert Manifest(tmp_path).existing() == {"a/b.txt"}


def test_files_outside_the_folder_and_the_block_are_not_listed(tmp_path):
    manifest = Manifest(tmp_path / "run")
    with observe_writes(manifest):
        write_text_atomic(tmp_path / "other.txt", "1")
    write_text_atomic(tmp_path / "run" / "later.txt", "1")
    assert Manifest(tmp_path / "run").names == set()


def test_records_of_the_summary_are_those_of_the_files(tmp_path):
    manifest = write(tmp_path, "b.csv", "a/c.png", "chunks/run.json")
    state = (tmp_path / "b.csv").stat()
    first, second = manifest.records()
    assert first["path"] == "a/c.png"
    assert second == {"path": "b.csv", "size": 4, "mtime_ns": state.st_mtime_ns}
    write_summary(tmp_path, [first, second])
    manifest.remove_chunks()
    assert Manifest(tmp_path).existing() == {"a/c.png", "b.csv"}
    assert not (tmp_path / "chunks").exists()


def test_file_that_no_run_wrote_is_not_replaced(tmp_path):
    (tmp_path / "pairs.csv").write_text("mine")
    with pytest.raises(InputError, match=r"pairs\.csv: exists, and no run wrote it; move it"):
        write(tmp_path, "pairs.csv")
    assert (tmp_path / "pairs.csv").read_text() == "mine"


@pytest.mark.parametrize("change", ["size", "time", "link"])
def test_file_that_changed_is_neither_replaced_nor_removed(tmp_path, change):
    write(tmp_path, "a.csv", "b.csv")
    path = tmp_path / "a.csv"
    if change == "size":
        path.write_text("mine, now")
    elif change == "time":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**10))
    else:
        path.unlink()
        (tmp_path / "mine.txt").write_text("ours")
        path.symlink_to(tmp_path / "mine.txt")
    text = path.read_text()
    with pytest.raises(InputError, match=r"a\.csv: exists, and was changed after a run wrote it"):
        write(tmp_path, "a.csv", text="new")
    manifest = Manifest(tmp_path)
    manifest.start_replacing()
    assert manifest.remove_former() == ["a.csv"]
    assert path.read_text() == text
    assert not (tmp_path / "b.csv").exists()


def test_times_in_steps_of_two_seconds_are_no_change(tmp_path):
    write(tmp_path, "a.csv")
    time = (tmp_path / "a.csv").stat().st_mtime_ns
    os.utime(tmp_path / "a.csv", ns=(time, time - 1_900_000_000))  # a FAT file system
    write(tmp_path, "a.csv", text="new")
    assert (tmp_path / "a.csv").read_text() == "new"


def test_line_that_was_cut_off_is_ignored(tmp_path):
    write(tmp_path, "a.csv")
    with (tmp_path / "chunks/written-0.jsonl").open("a") as log:
        log.write('\n{"path": "b.c')
    write(tmp_path, "c.csv")
    assert Manifest(tmp_path).existing() == {"a.csv", "c.csv"}


@pytest.mark.parametrize("name", ["../mine.txt", "a/../../mine.txt", "", "/etc/hosts"])
def test_listed_paths_outside_the_folder_are_ignored(tmp_path, name):
    (tmp_path / "run").mkdir()
    write_summary(tmp_path / "run", [{"path": name, "size": 1, "mtime_ns": 1}])
    assert Manifest(tmp_path / "run").names == set()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"complete": true}', "{"])
def test_summary_of_another_program_is_not_that_of_a_run(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    assert Manifest(tmp_path).summary is None
    assert outputs_in(tmp_path) == set()
    with pytest.raises(InputError, match="no run wrote it"):
        write(tmp_path, "summary.json")


def test_temporary_files_of_a_kill_are_removed(tmp_path, monkeypatch):
    def kill(*_: object) -> None:
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a kill removes nothing
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, "a/b.txt")
    monkeypatch.undo()
    (kept,) = (tmp_path / "a").iterdir()
    (tmp_path / ".0123456789ab.tmp.png").write_text("mine")
    Manifest(tmp_path).remove_temporaries()
    assert not kept.exists()
    assert (tmp_path / ".0123456789ab.tmp.png").exists()


def test_folders_that_become_empty_are_removed_and_others_kept(tmp_path):
    write(tmp_path, "a/b/c.txt", "d/e.txt")
    (tmp_path / "d" / "mine.txt").touch()
    (tmp_path / "empty").mkdir()
    manifest = Manifest(tmp_path)
    manifest.remove(manifest.existing())
    manifest.remove_chunks()
    assert {path.name for path in tmp_path.rglob("*")} == {"d", "mine.txt", "empty"}
