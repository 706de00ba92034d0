"""The benchmark of template matching: its formulas, and the OTB pairs where available."""

from pathlib import Path

import numpy as np
import pytest
from torch.testing import assert_close

from patchmatch.io import write_image
from patchmatch.templates.matcher import TemplateMatcher

ROOT = Path(__file__).parents[2]
PAIRS = ROOT.parent / "shared/data/templates"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    import benchmark_templates

    return benchmark_templates


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    import benchmark_templates_speed

    return benchmark_templates_speed


def test_area_under_the_success_curve_agrees_with_loops(benchmark):
    overlaps = [0.0, 0.03, 0.5, 0.97, 1.0]
    thresholds = [0.05 * i for i in range(20)]
    expected = [sum(o >= t - 1e-9 for t in thresholds) / 20 for o in overlaps]
    expected[0] = 0  # disjoint boxes do not reach the threshold 0
    assert benchmark.success(np.array(overlaps)).tolist() == pytest.approx(expected)


def test_overlap_and_size_of_boxes(benchmark):
    assert benchmark.overlap((0, 0, 4, 2), (2, 0, 6, 4)) == pytest.approx(4 / 20)
    assert benchmark.overlap((0, 0, 4, 2), (4, 0, 6, 4)) == 0
    assert benchmark.with_size_of((0, 0, 4, 2), (10, 10, 12, 16)) == (1, -2, 3, 4)


def test_intervals_resample_whole_sequences(benchmark):
    values = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    low, high = benchmark.interval(values, ["a", "a", "a", "b", "b"])
    assert (low, high) == (0, 1)
    same = benchmark.interval(np.full(5, 0.4), list("abcde"))
    assert same == pytest.approx((0.4, 0.4))


def test_read_pairs_accepts_both_names_of_the_box(benchmark, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    for name in ("p_frm1_cow_1", "p_frm2_cow_2"):
        write_image(tmp_path / f"{name}.jpg", image)
    (tmp_path / "p_frm1_cow_1.txt").write_text("3,5,10,20")
    (tmp_path / "p_frm1_cow_2.txt").write_text("7\t5\t10\t20\n")
    (pair,) = benchmark.read_pairs(tmp_path)
    assert pair.sequence == "cow"
    assert pair.template.shape == (20, 10, 3)
    assert pair.truth == (7, 5, 17, 25)


def test_qatm_layer_agrees_with_the_reference(speed, monkeypatch):
    monkeypatch.setattr(speed, "SIZES", (700, 90, 12))
    features = speed.random_features()
    expected = speed.layer(None)(*features)
    for cache_bytes in (2**29, 2**16, 0):
        assert_close(speed.layer(cache_bytes)(*features).exp(), expected, atol=1e-5, rtol=0)


def test_search_returns_seconds_and_error(speed):
    found = speed.run(speed.SearchCase(120, 160, 40, {"features": "handcrafted"}, templates=2), "")
    assert found["error"] < 2
    assert found["seconds"] > 0
    assert speed.run(speed.SearchCase(120, 160, 40, None), "")["error"] == 0


@pytest.mark.skipif(not PAIRS.is_dir(), reason="needs the OTB pairs in ../shared")
def test_handcrafted_features_find_more_objects_than_opencv(benchmark):
    pairs = benchmark.read_pairs(PAIRS)
    overlaps = {}
    matcher = TemplateMatcher("handcrafted", threshold=0, max_detections=1).eval()
    for name, find in (
        ("patchmatch", benchmark.detector_of(matcher)),
        ("opencv", benchmark.opencv(gray=False)),
    ):
        boxes = [find(pair.scene, pair.template)[0] for pair in pairs]
        both = zip(boxes, pairs, strict=True)
        overlaps[name] = np.array([benchmark.overlap(box, pair.truth) for box, pair in both])
    assert len(pairs) >= 35
    assert np.mean(overlaps["patchmatch"] > 0.5) > 0.7
    assert np.mean(overlaps["patchmatch"] > 0.5) > np.mean(overlaps["opencv"] > 0.5) + 0.15
