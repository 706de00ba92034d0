import random
from pathlib import Path

import pytest

from patchmatch.io.order import order_files

CLEAR = [
    ["frame.png", "frame1.png", "frame2.png", "frame10.png"],
    ["a.png", "b.jpg", "c.png", "d.tif"],
    ["1.jpg", "2.png", "10.jpg", "11.png"],
    ["1.png", "02.png", "003.png", "10.png", "0011.png"],
    ["0.05.png", "0.1.png", "0.15.png", "0.2.png"],
    ["0.125.png", "0.25.png", "0.375.png", "0.5.png"],
    ["0.0.png", "0.33.png", "0.67.png", "1.0.png", "1.33.png"],
    ["0.0.png", "0.25.jpg", "0.5.png", "0.75.png", "1.0.png"],
    ["t_9.5s.png", "t_10.0s.png", "t_10.5s.png"],
    ["0,5.png", "0,75.png", "1.png", "1,25.png"],
    ["1305031102.175304.png", "1305031102.211214.png", "1305031103.011301.png"],
    ["cam1.9.png", "cam1.10.png", "cam1.11.png", "cam2.1.png"],
    ["v1.2.9.png", "v1.2.10.png", "v1.10.1.png"],
    ["-10.png", "-2.png", "-1.png", "0.png", "1.png", "10.png"],
    ["-1.5.png", "-0.5.png", "0.5.png", "1.5.png"],
    ["t-10.png", "t-2.png", "t+1.png", "t+12.png"],
    ["x_-2_y_-1.png", "x_-2_y_3.png", "x_-1_y_0.png", "x_4_y_-1.png"],
    ["\u22122.png", "\u22121.png", "0.png", "+1.png"],
    ["frame-1.png", "frame-2.png", "frame-10.png"],
    ["2024-1-9.png", "2024-1-10.png", "2024-02-01.png"],
    ["9.12.2024.png", "10.11.2024.png"],
    ["shot 1.png", "shot 2.png", "shot 10.png"],
    ["shot.png", "shot (2).png", "shot (10).png"],
]


@pytest.mark.parametrize("names", CLEAR, ids=lambda names: names[0])
def test_order_is_that_of_a_person_without_a_warning(names):
    for seed in range(5):
        shuffled = [Path(name) for name in random.Random(seed).sample(names, len(names))]
        ordered, doubt = order_files(shuffled)
        assert doubt is None
        assert [path.name for path in ordered] == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.12.png", "1.5.png", "1.9.png"], "points in numbers are read as decimal points"),
        (["1.05.png", "1.10.png", "1.5.png"], "points in numbers are read as decimal points"),
        (["-3.png", "-2.png", "-1.png"], "hyphens before numbers are read as signs"),
        (["a -1.png", "a -2.png"], "hyphens before numbers are read as separators"),
        (["1.png", "01.png", "2.png"], "01.png and 1.png have the same number or name"),
        (["1.jpg", "1.png", "2.jpg", "2.png"], "1.jpg and 1.png have the same number"),
    ],
)
def test_ambiguous_order_is_named(names, expected):
    ordered, doubt = order_files(Path(name) for name in reversed(names))
    assert doubt is not None
    assert expected in doubt
    if "same number" not in expected:
        assert [path.name for path in ordered] == names


def test_any_names_are_ordered_the_same_in_whatever_order_they_come():
    letters = ["", "-", "1", "02", ".", "+", "a", "A", "\u2212", ","]
    names = {f"{a}{b}{c}{d}x" for a in letters for b in letters for c in letters for d in letters}
    paths = [Path(name) for name in sorted(names)]
    ordered, _ = order_files(paths)
    assert len(ordered) == len(paths)
    assert order_files(random.Random(0).sample(paths, len(paths)))[0] == ordered
