import math

import numpy as np
import pytest

from patchmatch.nnf.curves import draw_curves
from patchmatch.nnf.results import Step


def steps(*values):
    return [Step(i + 1, 1 / (i + 1), v, v / 40, 0.5 * i) for i, v in enumerate(values)]


def test_every_curve_leaves_a_line_in_every_panel():
    plain = draw_curves({"a": steps(20, 22, 23)})
    more = draw_curves({"a": steps(20, 22, 23), "b": steps(21, 25, 26)})
    assert plain.dtype == np.uint8
    assert plain.shape == more.shape
    third = plain.shape[1] // 3
    for panel in range(3):
        part = more[:, panel * third : (panel + 1) * third].astype(int)
        orange = (part[..., 0] > 200) & (part[..., 2] < 80) & (part[..., 1] < 180)
        blue = (part[..., 2] > 140) & (part[..., 0] < 80)
        assert orange.sum() > 50
        assert blue.sum() > 50


def test_the_same_steps_give_the_same_picture():
    assert np.array_equal(draw_curves({"a": steps(20, 22)}), draw_curves({"a": steps(20, 22)}))


def test_a_perfect_picture_and_an_unknown_similarity_are_left_out():
    assert draw_curves({"a": [Step(1, 0.0, math.inf, math.nan, 0.1)]}).shape[2] == 3


def test_what_cannot_be_plotted_is_refused():
    with pytest.raises(ValueError, match="at least one curve"):
        draw_curves({})
    with pytest.raises(ValueError, match="against must be iteration or seconds"):
        draw_curves({"a": steps(1)}, against="time")
