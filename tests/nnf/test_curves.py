import math

import numpy as np
import pytest

from patchmatch.nnf.curves import draw_curves
from patchmatch.nnf.results import IterationMetrics


def history(*psnr):
    return [
        IterationMetrics(
            iteration=i + 1, ssd=1 / (i + 1), psnr=value, ssim=value / 40, seconds=0.5 * i
        )
        for i, value in enumerate(psnr)
    ]


def test_every_curve_is_drawn_in_every_panel():
    plain = draw_curves({"a": history(20, 22, 23)})
    more = draw_curves({"a": history(20, 22, 23), "b": history(21, 25, 26)})
    assert plain.dtype == np.uint8
    assert plain.shape == more.shape
    third = plain.shape[1] // 3
    for panel in range(3):
        part = more[:, panel * third : (panel + 1) * third].astype(int)
        orange = (part[..., 0] > 200) & (part[..., 2] < 80) & (part[..., 1] < 180)
        blue = (part[..., 2] > 140) & (part[..., 0] < 80)
        assert orange.sum() > 50
        assert blue.sum() > 50


def test_equal_histories_give_equal_plots():
    assert np.array_equal(draw_curves({"a": history(20, 22)}), draw_curves({"a": history(20, 22)}))


def test_infinite_psnr_and_nan_ssim_are_left_out():
    exact = IterationMetrics(iteration=1, ssd=0.0, psnr=math.inf, ssim=math.nan, seconds=0.1)
    assert draw_curves({"a": [exact]}).shape[2] == 3


def test_no_curves_and_an_unknown_axis_raise():
    with pytest.raises(ValueError, match="at least one curve"):
        draw_curves({})
    with pytest.raises(ValueError, match="against must be iteration or seconds"):
        draw_curves({"a": history(1)}, against="time")
