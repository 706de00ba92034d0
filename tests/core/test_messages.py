import io
import sys
import warnings

import pytest

from patchmatch.core.errors import InputError
from patchmatch.core.messages import (
    Warner,
    counted,
    printable,
    warn,
    warnings_as_lines,
    write_any_text,
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[1mbold\x1b[0m\a", "\\x1b[1mbold\\x1b[0m\\x07"),
        ("c1 \x9b31m, \u2028", "c1 \\x9b31m, \\u2028"),
        ("caf\udce9", "caf\\udce9"),
        ("Ünïcode, 漢字 and  blanks", "Ünïcode, 漢字 and  blanks"),
    ],
)
def test_control_characters_never_reach_the_terminal(text, line):
    assert printable(text) == line


def test_a_name_with_a_line_break_is_written_in_one_way(capsys):
    name = "two\nlines"
    with warnings_as_lines():
        warn(f"{name}: skipped")
    assert capsys.readouterr().err == "warning: two\\nlines: skipped\n"
    assert str(InputError(f"{name}: damaged")) == printable(f"{name}: damaged")
    assert printable(printable(name)) == "two\\nlines"


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "boxes", "1 box"),
        (2, "boxes", "2 boxes"),
        (1, "searches", "1 search"),
        (1, "pairs", "1 pair"),
        (0, "pairs", "0 pairs"),
        (1, "scenes", "1 scene"),
        (1, "matched", "1 matched"),
    ],
)
def test_a_single_thing_is_counted_in_the_singular(count, noun, text):
    assert counted(count, noun) == text


def test_a_warning_is_one_line_on_stderr(capsys):
    with warnings_as_lines():
        warn("a.png: [b]truncated[/b]; skipped")
        warnings.warn("of a library\non two lines", stacklevel=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "warning: a.png: [b]truncated[/b]; skipped",
        "warning: of a library on two lines",
    ]


def test_in_python_it_is_a_user_warning():
    with pytest.warns(UserWarning, match="skipped"):
        warn("skipped")


def test_a_warner_issues_each_text_once():
    issue = Warner()
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        for text in ("a", "b", "a"):
            issue(text)
    assert [str(warning.message) for warning in issued] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "latin-1", "ascii", "utf-8"])
def test_any_name_can_be_printed_in_any_encoding(monkeypatch, encoding):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    write_any_text()
    for stream in streams:
        stream.write("caf\udce9 漢字 ━ 😀 é")
        stream.flush()
        assert b"caf\\udce9 " in stream.buffer.getvalue()
