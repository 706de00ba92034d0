"""The benchmark of tuned features on small data."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning import Trainer
from textures import smooth

from patchmatch.public.images import to_rgb
from patchmatch.synthetic.photographs import bundled_photographs
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.synthetic_places import SyntheticPlaces

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    sys.modules.pop("benchmark_tuning", None)
    import benchmark_tuning

    return benchmark_tuning


def test_templates_are_at_their_true_boxes(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "TEMPLATES_PER_PHOTO", 4)
    for name, value in (("TURN", 0.0), ("ZOOM", 1.0), ("TILT", 0.0), ("LIGHT", 0.0)):
        monkeypatch.setattr(benchmark, name, value)
    pairs = benchmark.synthetic_pairs([smooth(180, 220, sigma=2), smooth(200, 170, 1, sigma=2)])
    assert [pair.sequence for pair in pairs] == ["0"] * 4 + ["1"] * 4
    for pair in pairs:
        x0, y0, x1, y1 = (round(value) for value in pair.truth)
        assert (y1 - y0, x1 - x0) == pair.template.shape[:2]
        crop = pair.scene[y0:y1, x0:x1].astype(float)
        difference = np.abs(crop - pair.template).mean()
        assert difference < 12  # resampling and weak noise
        assert np.abs(crop[::-1] - pair.template).mean() > 2 * difference


def test_features_of_each_scene_are_extracted_once(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "TEMPLATES_PER_PHOTO", 6)
    monkeypatch.setattr("benchmark_templates.CACHE_SIZE", 1)  # scenes
    pairs = benchmark.synthetic_pairs([smooth(100, 120, sigma=2), smooth(120, 110, 1, sigma=2)])
    matcher = TemplateMatcher("handcrafted", threshold=0.0, max_detections=1).eval()
    images = [[to_rgb(image)[0] for image in (pair.scene, pair.template)] for pair in pairs]
    scores = np.array(
        [
            [sum(matcher.match(scene, template).scores.tolist()) for scene, _ in images]
            for _, template in images
        ]
    )  # row: template, column: scene
    steps = [(i, (i + step) % 12) for i in range(12) for step in (1, 3, 5, 7, 9)]
    wrong = [scores[i, j] for i, j in steps if i // 6 != j // 6]  # of another photograph
    calls, extract = [], matcher.extract_features
    monkeypatch.setattr(
        matcher, "extract_features", lambda scene: calls.append(1) or extract(scene)
    )
    threshold = float(np.median(wrong))
    *_, correct, alarms = benchmark.templates(matcher, pairs, threshold, alarms=True)
    assert len(calls) == 12
    assert alarms == f"{sum(score >= threshold for score in wrong)} of {len(wrong)}"
    assert correct.partition(" of ")[0] == str((scores.diagonal() >= threshold).sum())


@pytest.mark.slow
@pytest.mark.usefixtures("torch_threads")  # the benchmark sets their number
def test_tables_compare_features_before_and_after_tuning(benchmark, monkeypatch, tmp_path, capsys):
    if len(bundled_photographs()) < 5:
        pytest.skip("photographs come with scikit-image and scikit-learn")
    monkeypatch.setattr(benchmark, "TEMPLATES_PER_PHOTO", 1)
    monkeypatch.setattr(benchmark, "CALIBRATION", 1)
    monkeypatch.setattr(benchmark, "SyntheticPlaces", partial(SyntheticPlaces, views=2))
    run = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    matcher = PlaceMatcher("handcrafted", embedding=8)
    matcher.has_weights.fill_(value=True)
    run.strategy.connect(matcher)
    run.save_checkpoint(tmp_path / "t.ckpt")
    monkeypatch.setattr(sys, "argv", ["b", "--alarms", "--checkpoint", str(tmp_path / "t.ckpt")])
    benchmark.main()
    output = capsys.readouterr().out
    for words in ("before, pooled", "tuned, embedding", "3 templates, from the test"):
        assert words in output
