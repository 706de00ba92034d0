import errno
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


def refuse_writing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write_bytes(path: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_the_file_appears_only_when_the_block_has_ended(tmp_path):
    target = tmp_path / "höhe und breite.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_made(tmp_path):
    write_bytes_atomic(tmp_path / "a" / "b" / "c.bin", b"\x00\r\n")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\r\n"


def test_text_is_utf8_with_its_line_ends_untouched(tmp_path):
    write_text_atomic(str(tmp_path / "a.txt"), "ü\n\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xbc\n\r\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_any_exception_keeps_the_old_file_and_removes_the_new_one(tmp_path, error):
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
        (errno.EACCES, "you may not write there"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_a_refusal_of_the_system_is_one_line_with_the_path_and_a_remedy(
    tmp_path, monkeypatch, number, remedy
):
    refuse_writing(monkeypatch, number)
    with pytest.raises(InputError, match=rf"a\.bin: cannot be written: .*{remedy}") as caught:
        write_bytes_atomic(tmp_path / "a.bin", b"1")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=remedy):
        require_writable_folder(tmp_path / "out")


def test_an_error_without_file_name_counts_as_one_of_writing(tmp_path):
    with pytest.raises(InputError, match="the disk is full"), atomic_path(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_about_another_file_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "a.bin"):
        (tmp_path / "absent.bin").read_bytes()


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"c\.txt: cannot be written: \S*out is a file"):
        write_text_atomic(tmp_path / "out" / "deep" / "c.txt", "1")
    with pytest.raises(InputError, match=r"out: cannot be written: \S*out is a file"):
        require_writable_folder(tmp_path / "out")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="a folder of this name is in the way"):
        write_text_atomic(tmp_path, "1")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_text_atomic(tmp_path / ("a" * 300 + ".txt"), "1")


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    folder = require_writable_folder(str(tmp_path / "new" / "folder with ß"))
    assert folder == tmp_path / "new" / "folder with ß"
    assert list(folder.iterdir()) == []
