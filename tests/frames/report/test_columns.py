import base64

import numpy as np

from patchmatch.frames.report.columns import PairColumns, change_columns
from patchmatch.writing.report.encoding import encode


def test_columns_contain_the_numbers_of_the_table(run):
    pairs = PairColumns(run.pairs(2))
    columns = change_columns(run.rows(2), pairs, max_rows=2)
    assert columns["x0"].tolist() == [4, 29, 4, 29]
    assert columns["y1"].tolist() == [24, 24, 25, 25]
    assert columns["score"].tolist() == [10_000, 7_500] * 2
    assert columns["layer"].tolist() == [1, 2] * 2
    assert columns["dx"].tolist() == [-1.0] * 4
    assert encode(columns["camera_dx"]) == ("", "")
    kind, text = encode(columns["score"])
    assert kind == "Uint16Array"
    assert np.frombuffer(base64.b64decode(text), "<u2").tolist() == [10_000, 7_500] * 2
    complete = change_columns(run.rows(2), pairs, max_rows=9)
    assert complete["layer"].tolist() == [1, 2, 2] * 2
    assert complete["matched"].tolist() == [1, 1, 0] * 2
    assert np.isnan(complete["dx"][2])


def test_numbers_and_text_give_equal_columns(run):
    def typed(row):
        plain = {name: None if value == "" else value for name, value in row.items()}
        return plain | {"dx": -1, "dy": 0.5, "matched": True, "score": 0.75, "confidence": 0.5}

    columns = change_columns(
        [typed(row) for row in run.rows(1)], PairColumns(run.pairs(1)), max_rows=3
    )
    assert columns["score"].tolist() == [7_500] * 3
    assert columns["layer"].tolist() == [1, 2, 2]
