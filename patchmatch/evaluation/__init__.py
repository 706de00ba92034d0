"""Predictions and ground truth to numbers; no model is needed here."""

from patchmatch.evaluation.changes import ChangeScores, KindScores, block_truth, score_changes

__all__ = ["ChangeScores", "KindScores", "block_truth", "score_changes"]
