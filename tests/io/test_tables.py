import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv, write_csv

COLUMNS = ("source", "score")


def test_round_trip(tmp_path):
    path = tmp_path / "tafel é.csv"
    rows = [{"score": 0.5, "source": 'ä, "quoted"\nline'}, {"source": "b\r", "score": None}]
    write_csv(path, COLUMNS, rows)
    assert read_csv(path, COLUMNS) == [
        {"source": 'ä, "quoted"\nline', "score": "0.5"},
        {"source": "b\r", "score": ""},
    ]


def test_bytes_are_the_same_on_every_system(tmp_path):
    write_csv(tmp_path / "a.csv", COLUMNS, [{"source": "ü", "score": 1}])
    assert (tmp_path / "a.csv").read_bytes() == b"source,score\n\xc3\xbc,1\n"


def test_table_without_rows_has_a_header(tmp_path):
    write_csv(tmp_path / "a.csv", COLUMNS, [])
    assert (tmp_path / "a.csv").read_bytes() == b"source,score\n"
    assert read_csv(tmp_path / "a.csv", COLUMNS) == []


@pytest.mark.parametrize("row", [{"source": "a"}, {"source": "a", "score": 1, "x": 2}])
def test_row_with_other_columns_raises_and_nothing_is_written(tmp_path, row):
    with pytest.raises(ValueError, match="row 0 must have the columns"):
        write_csv(tmp_path / "a.csv", COLUMNS, [row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_fields_may_be_separated_by_semicolons_or_tabs(tmp_path, delimiter, end):
    text = end.join(["more|source|score", '"1,5;2"|a|1', "|b c|"]).replace("|", delimiter)
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_csv(tmp_path / "a.csv", COLUMNS) == [
        {"more": "1,5;2", "source": "a", "score": "1"},
        {"more": "", "source": "b c", "score": ""},
    ]


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfsource,score\r\na,1\r\n")
    assert read_csv(tmp_path / "a.csv", COLUMNS) == [{"source": "a", "score": "1"}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.csv: the file is empty"),
        (b"source\na\n", r"a\.csv: the table lacks score; its header must name source, score"),
        (b"source,score\na,1\nb\n", r"a\.csv line 3: the row must have 2 fields"),
        (b"source,score\na,1,2\n", r"a\.csv line 2: the row must have 2 fields"),
        (b'source,score\n"a,1\n', r"a\.csv line 2: not csv"),
        (b"source,score\n\xff,1\n", r"a\.csv: not UTF-8 text"),
    ],
)
def test_invalid_table_raises_with_file_and_line(tmp_path, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "a.csv", COLUMNS)


def test_missing_table_raises(tmp_path):
    with pytest.raises(InputError, match=r"b\.csv: no such file"):
        read_csv(tmp_path / "b.csv")
