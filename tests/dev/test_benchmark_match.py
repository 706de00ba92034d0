"""The synthetic benchmark in a small form."""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from patchmatch.io import write_flo
from patchmatch.pairs.synthetic_benchmark import FACTORS, warped_pair

ROOT = Path(__file__).parents[2]
pytest.importorskip("skimage", reason="the photographs are scikit-image's")
pytest.importorskip("sklearn", reason="the photographs are scikit-learn's")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    for name in ("benchmark_match", "match_directly"):
        sys.modules.pop(name, None)
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


def test_the_work_of_a_library_is_timed_beside_ours(benchmark, capsys):
    numbers = {}
    for how in ("ours", "directly"):
        benchmark.one_pair("sift", how, 200, 300, {})
        numbers[how] = [float(word) for word in capsys.readouterr().out.split()]
    assert numbers["ours"][0] > 100
    assert numbers["directly"][0] > 100
    assert 0 < numbers["ours"][1] < 60


class Nothing(torch.nn.Module):
    """Stands for LoFTR and finds nothing."""

    def forward(self, batch):
        none = torch.zeros(0, 2)
        return {"keypoints0": none, "keypoints1": none, "confidence": none[:, 0]}


def test_what_random_weights_are_timed_on_are_the_true_tiles(benchmark, monkeypatch):
    import match_directly

    from patchmatch.pairs.loftr.matcher import LoFTRMatcher
    from patchmatch.pairs.sift import SIFTMatcher

    monkeypatch.setattr(match_directly, "_random_loftr", Nothing)
    assert not match_directly.give_random_weights(SIFTMatcher())
    matcher = LoFTRMatcher(max_size=None, tile=192)
    assert match_directly.give_random_weights(matcher)
    picture = benchmark.photographs(1)[0][:220, :300]
    second = np.ascontiguousarray(picture[:, match_directly.MOVED :])
    found = benchmark.match_images(picture, second, matcher)
    off = np.abs((found.keypoints1 - found.keypoints0).numpy() - [-match_directly.MOVED, 0])
    assert len(found) > 300
    assert (off.max(axis=1) < 1).mean() > 0.9


def test_matches_are_compared_with_a_true_flow(benchmark, tmp_path, capsys):
    picture = benchmark.photographs(1)[0][:120, :160]
    folder = tmp_path / "moved by six"
    folder.mkdir()
    cv2.imwrite(str(folder / "frame_1.png"), picture[:, 6:])
    cv2.imwrite(str(folder / "frame_2.png"), picture[:, :-6])
    flow = np.zeros((120, 154, 2), np.float32)
    flow[..., 0] = 6
    write_flo(folder / "flow.flo", flow)
    benchmark.true_flow(["sift"], tmp_path)
    told = capsys.readouterr().out
    assert "moved by six" in told
    assert float(told.rpartition("sift")[2].split(",")[1].split()[0]) > 0.95
