"""The synthetic benchmark in a small form."""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.evaluation.synthetic import FACTORS, warped_pair

ROOT = Path(__file__).parents[2]
pytest.importorskip("skimage", reason="the photographs are scikit-image's")
pytest.importorskip("sklearn", reason="the photographs are scikit-learn's")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    sys.modules.pop("benchmark_match", None)
    import benchmark_match

    return benchmark_match


@pytest.mark.parametrize("factor", FACTORS)
def test_the_homography_of_a_made_pair_is_true(factor):
    picture = np.full((60, 90), 20, np.uint8)
    cv2.circle(picture, (31, 22), 9, 220, -1)
    amount = FACTORS[factor][2]
    image0, image1, truth = warped_pair(picture, factor, amount)
    centres = []
    for image in (image0, image1):
        bright = np.argwhere(image > (0.4 if factor != "light" else 0.35) * image.max())
        centres.append([*bright.mean(axis=0)[::-1], 1])
    expected = truth @ centres[0]
    assert centres[1][:2] == pytest.approx(expected[:2] / expected[2], abs=0.5)


def test_unknown_factors_are_refused():
    with pytest.raises(ValueError, match="factor must be one of rotation, scale, tilt, light"):
        warped_pair(np.zeros((9, 9), np.uint8), "time", 1)


def test_a_small_run_tells_easy_from_hard(benchmark, tmp_path):
    factors = {"rotation": (0, 45), "tilt": (1, 5.66)}
    benchmark.accuracy(["OpenCV", "sift"], 1, tmp_path, factors)
    with (tmp_path / "accuracy.csv").open(newline="") as file:
        rows = {(r["matcher"], r["factor"], r["amount"]): r for r in csv.DictReader(file)}
    assert len(rows) == 8
    for name in ("OpenCV", "sift"):
        assert float(rows[name, "rotation", "45"]["mma_3"]) > 0.8
        assert float(rows[name, "rotation", "45"]["right"]) == 1
        assert float(rows[name, "tilt", "5.66"]["mma_3"]) < 0.3
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_matchers_without_weights_are_named(benchmark, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("kornia.feature.loftr.loftr.load_state_dict_from_url", refuse)
    from rich.console import Console

    assert benchmark.prepared(["loftr"], Console()) == {}
    assert "loftr is left out" in capsys.readouterr().out
