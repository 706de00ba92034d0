import errno
import json
import os
from pathlib import Path

import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import (
    atomic_path,
    require_writable_folder,
    write_bytes_atomic,
    write_text_atomic,
)


def make_writing_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write_bytes(path: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_file_appears_only_after_the_block(tmp_path):
    target = tmp_path / "höhe und breite.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_created(tmp_path):
    write_bytes_atomic(tmp_path / "a" / "b" / "c.bin", b"\x00\r\n")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\r\n"


def test_text_is_utf8_and_line_ends_are_kept(tmp_path):
    write_text_atomic(str(tmp_path / "a.txt"), "ü\n\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xbc\n\r\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_exception_keeps_the_old_file_and_removes_the_temporary_one(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_error_of_the_system_is_one_line_with_path_and_remedy(
    tmp_path, monkeypatch, number, remedy
):
    make_writing_fail(monkeypatch, number)
    with pytest.raises(InputError, match=rf"a\.bin: cannot be written: .*{remedy}") as caught:
        write_bytes_atomic(tmp_path / "a.bin", b"1")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=remedy):
        require_writable_folder(tmp_path / "out")


def test_error_without_file_name_is_reported_for_the_target(tmp_path):
    with pytest.raises(InputError, match="the disk is full"), atomic_path(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_error_about_another_file_is_not_converted(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "a.bin"):
        (tmp_path / "absent.bin").read_bytes()


def test_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"c\.txt: cannot be written: \S*out is a file"):
        write_text_atomic(tmp_path / "out" / "deep" / "c.txt", "1")
    with pytest.raises(InputError, match=r"out: cannot be written: \S*out is a file"):
        require_writable_folder(tmp_path / "out")


def test_folder_in_place_of_the_file_raises(tmp_path):
    with pytest.raises(InputError, match="a folder of this name exists"):
        write_text_atomic(tmp_path, "1")


def test_name_that_is_too_long_raises(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_text_atomic(tmp_path / ("a" * 300 + ".txt"), "1")


def test_writable_folder_is_created_and_empty(tmp_path):
    folder = require_writable_folder(str(tmp_path / "new" / "folder with ß"))
    assert folder == tmp_path / "new" / "folder with ß"
    assert list(folder.iterdir()) == []


def test_bytes_of_names_are_written_as_escapes_that_json_reads_back(tmp_path):
    name = "caf\udce9 影"
    write_text_atomic(tmp_path / "a.json", json.dumps({"name": name}, ensure_ascii=False))
    content = (tmp_path / "a.json").read_text("utf-8")
    assert content == '{"name": "caf\\udce9 影"}'
    assert json.loads(content) == {"name": name}
