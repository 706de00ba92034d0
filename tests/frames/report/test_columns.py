import base64

import numpy as np

from patchmatch.frames.report.columns import Pairs, encode, read_changes


def test_columns_hold_the_numbers_of_the_table(run):
    pairs = Pairs(run.pairs(2))
    columns = read_changes(run.rows(2), pairs, most=2)
    assert columns["x0"].tolist() == [4, 29, 4, 29]
    assert columns["y1"].tolist() == [24, 24, 25, 25]
    assert columns["score"].tolist() == [10_000, 7_500] * 2
    assert columns["layer"].tolist() == [1, 2] * 2
    assert columns["dx"].tolist() == [-1.0] * 4
    assert "area" not in columns  # it is that of the boxes
    assert encode(columns["camera_dx"]) == ("", "")
    kind, text = encode(columns["score"])
    assert kind == "Uint16Array"
    assert np.frombuffer(base64.b64decode(text), "<u2").tolist() == [10_000, 7_500] * 2
    every = read_changes(run.rows(2), pairs, most=9)
    assert every["layer"].tolist() == [1, 2, 3] * 2
    assert np.isnan(every["dx"][2])


def test_numbers_may_be_numbers_or_text(run):
    def typed(row):
        plain = {name: None if value == "" else value for name, value in row.items()}
        return plain | {"dx": -1, "dy": 0.5, "matched": True, "score": 0.75, "confidence": 0.5}

    columns = read_changes([typed(row) for row in run.rows(1)], Pairs(run.pairs(1)), most=3)
    assert columns["score"].tolist() == [7_500] * 3
    assert columns["layer"].tolist() == [1, 2, 2]


def test_regions_keep_their_area(run):
    rows = [row | {"area": "200"} for row in run.rows(1)]
    assert read_changes(rows, Pairs(run.pairs(1)), most=3)["area"].tolist() == [200] * 3
