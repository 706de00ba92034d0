"""A small run of the benchmark of alignment, and its generated pairs."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("skimage", reason="needs the photographs of scikit-image")
pytest.importorskip("sklearn", reason="needs the photographs of scikit-learn")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    sys.modules.pop("benchmark_alignment", None)
    import benchmark_alignment

    return benchmark_alignment


@pytest.mark.parametrize("kind", ["near", "wide", "tilt"])
def test_pairs_are_related_by_their_homography(benchmark, kind):
    correlations = []
    for pair in benchmark.generated_pairs(kind, 3, seed=0):
        height, width = pair.image0.shape[:2]
        to_image0 = np.linalg.inv(pair.homography)
        blurred1 = cv2.GaussianBlur(pair.image1, (0, 0), 2)
        warped = cv2.warpPerspective(blurred1, to_image0, (width, height))
        seen = cv2.warpPerspective(np.ones(pair.image1.shape[:2]), to_image0, (width, height)) == 1
        image0 = cv2.GaussianBlur(pair.image0, (0, 0), 2)
        correlations.append(np.corrcoef(image0[seen].ravel(), warped[seen].ravel())[0, 1])
    assert np.median(correlations) > 0.8


def test_a_small_run_shows_the_gain(benchmark, capsys):
    benchmark.main(["--matchers", "sift", "--pairs", "2"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {line[1]: line[2:5] for line in lines if line[:1] == ["sift"]}
    before, after = (
        sum(float(cell.split("/")[1]) for cell in found[align]) for align in ("no", "yes")
    )
    assert after > before
