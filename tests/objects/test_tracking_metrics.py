"""Scores of tracks against known counts, and against motmetrics where it is installed."""

import numpy as np
import pytest
import torch

from patchmatch.objects.tracking_metrics import score_tracks
from patchmatch.ops.boxes import box_iou

LEFT, RIGHT = (0, 0, 10, 20), (50, 0, 60, 20)


def tracks(frames):
    return {
        time: (list(boxes), np.array(list(boxes.values()), float).reshape(-1, 4))
        for time, boxes in enumerate(frames)
    }


def test_a_changed_number_is_one_switch():
    true = tracks([{1: LEFT, 2: RIGHT}] * 4)
    predicted = tracks([{7: LEFT, 8: RIGHT}] * 2 + [{9: LEFT, 8: RIGHT}] * 2)
    scores = score_tracks(predicted, true, range(4), 0.5)
    assert (scores.matched, scores.switches) == (8, 1)
    assert scores.f1 == 1
    assert scores.mota == pytest.approx(1 - 1 / 8)
    assert scores.idf1 == pytest.approx(6 / 8)


def test_missed_and_false_boxes_are_counted():
    true = tracks([{1: LEFT}, {1: LEFT}, {}])
    predicted = tracks([{1: LEFT}, {}, {1: RIGHT}])
    scores = score_tracks(predicted, true, range(3), 0.5)
    assert (scores.true, scores.predicted, scores.matched) == (2, 2, 1)
    assert scores.f1 == pytest.approx(0.5)
    assert scores.mota == pytest.approx(0)


def test_a_match_of_the_frame_before_is_kept():
    near, nearer = (2, 0, 12, 20), (0, 0, 10, 20)
    true = tracks([{1: LEFT}, {1: LEFT}])
    predicted = tracks([{5: near}, {5: near, 6: nearer}])
    scores = score_tracks(predicted, true, range(2), 0.5)
    assert scores.switches == 0


def test_nothing_predicted_and_nothing_true():
    scores = score_tracks({}, {}, range(3), 0.5)
    assert scores.f1 == 1
    assert np.isnan(scores.mota)


def test_scores_agree_with_motmetrics():
    mm = pytest.importorskip("motmetrics", reason="motmetrics is not installed")
    rng = np.random.default_rng(0)
    true, predicted = [], []
    for _ in range(60):
        boxes = {k: np.array([20 * k, 0, 20 * k + 12, 20]) + rng.integers(-3, 4) for k in range(5)}
        true.append({k: b for k, b in boxes.items() if rng.random() < 0.9})
        predicted.append(
            {k + 10 * int(rng.random() < 0.1): b + rng.integers(-4, 5) for k, b in boxes.items()}
        )
    scores = score_tracks(tracks(predicted), tracks(true), range(60), 0.5)
    accumulator = mm.MOTAccumulator(auto_id=True)
    for a, b in zip(true, predicted, strict=True):
        both = (torch.tensor(np.array(list(c.values()), float)).view(-1, 4) for c in (a, b))
        overlap = box_iou(*both).numpy()
        accumulator.update(list(a), list(b), np.where(overlap >= 0.5, 1 - overlap, np.nan))
    peer = (
        mm.metrics.create()
        .compute(accumulator, metrics=["mota", "idf1", "num_switches"], name="run")
        .iloc[0]
    )
    assert scores.mota == pytest.approx(peer["mota"], abs=0.01)
    assert scores.idf1 == pytest.approx(peer["idf1"], abs=0.01)
    assert scores.switches == pytest.approx(peer["num_switches"], abs=2)
