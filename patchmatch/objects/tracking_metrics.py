"""Scores of tracks: MOTA (Bernardin and Stiefelhagen 2008) and IDF1 (Ristani et al. 2016)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from patchmatch.ops.boxes import box_iou

Boxes = NDArray[np.float64]  #: (N, 4) xyxy in pixels, half-open
Tracks = Mapping[int, tuple[Sequence[int], Boxes]]  #: numbers and boxes of each frame


@dataclass(frozen=True)
class TrackingScores:
    """Counts of a comparison of tracks with true tracks.

    Attributes:
        true: True boxes.
        predicted: Predicted boxes.
        matched: Boxes matched one to one.
        switches: Changes of the number that a true track is matched with.
        identity_matched: Boxes matched by the best one-to-one assignment of whole tracks.
        true_tracks: True tracks.
    """

    true: int
    predicted: int
    matched: int
    switches: int
    identity_matched: int
    true_tracks: int

    @property
    def f1(self) -> float:
        """F1 of the boxes."""
        return (
            2 * self.matched / (self.true + self.predicted) if self.true + self.predicted else 1.0
        )

    @property
    def mota(self) -> float:
        """1 - (missed + false + switches) / true boxes."""
        if not self.true:
            return float("nan")
        errors = self.true + self.predicted - 2 * self.matched + self.switches
        return 1 - errors / self.true

    @property
    def idf1(self) -> float:
        """F1 of the boxes that have the number of their track."""
        total = self.true + self.predicted
        return 2 * self.identity_matched / total if total else 1.0


def score_tracks(
    predicted: Tracks, true: Tracks, frames: Sequence[int], threshold: float
) -> TrackingScores:
    """Compare tracks with true tracks.

    A match of the frame before is kept while its overlap suffices; the other boxes are matched
    with the largest number of matches and then the largest overlap.

    Args:
        predicted: Predicted tracks.
        true: True tracks.
        frames: Frames to compare, in order.
        threshold: Smallest intersection over union of a match.
    """
    matched = switches = count = truth = 0
    kept: dict[int, int] = {}  # number that each true track was last matched with
    current: dict[int, int] = {}  # the same, in the frame before
    together: dict[tuple[int, int], int] = {}
    nothing = ((), np.zeros((0, 4)))
    lengths: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for frame in frames:
        numbers, boxes = predicted.get(frame, nothing)
        true_numbers, true_boxes = true.get(frame, nothing)
        count, truth = count + len(numbers), truth + len(true_numbers)
        for table, present in zip(lengths, (numbers, true_numbers), strict=True):
            for number in present:
                table[number] = table.get(number, 0) + 1
        both = (torch.from_numpy(np.asarray(b, float)) for b in (true_boxes, boxes))
        overlap = box_iou(*both).numpy()
        for i, j in np.argwhere(overlap >= threshold):
            pair = true_numbers[i], numbers[j]
            together[pair] = together.get(pair, 0) + 1
        pairs = _match(overlap, true_numbers, numbers, current, threshold)
        current = {true_numbers[i]: numbers[j] for i, j in pairs}
        for number, other in current.items():
            switches += number in kept and kept[number] != other
        kept |= current
        matched += len(pairs)
    identities = _best_assignment(together, list(lengths[1]), list(lengths[0]))
    return TrackingScores(truth, count, matched, switches, identities, len(lengths[1]))


def _match(
    overlap: NDArray[np.float64],
    true_numbers: Sequence[int],
    numbers: Sequence[int],
    before: Mapping[int, int],
    threshold: float,
) -> list[tuple[int, int]]:
    """Return the index pairs of true and predicted boxes that are matched."""
    where = {number: j for j, number in enumerate(numbers)}
    pairs = []
    for i, number in enumerate(true_numbers):
        j = where.get(before.get(number, -1))
        if j is not None and overlap[i, j] >= threshold:
            pairs.append((i, j))
    free_true = [i for i in range(len(true_numbers)) if i not in {i for i, _ in pairs}]
    free = [j for j in range(len(numbers)) if j not in {j for _, j in pairs}]
    if free_true and free:
        part = overlap[np.ix_(free_true, free)]
        enough = part >= threshold
        rows, columns = linear_sum_assignment(-(enough * (1000 + part)))
        for row, column in zip(rows, columns, strict=True):
            if enough[row, column]:
                pairs.append((free_true[row], free[column]))
    return pairs


def _best_assignment(
    together: Mapping[tuple[int, int], int], true_numbers: list[int], numbers: list[int]
) -> int:
    """Return the boxes that agree under the best one-to-one assignment of tracks."""
    if not true_numbers or not numbers:
        return 0
    table = np.array([[together.get((i, j), 0) for j in numbers] for i in true_numbers])
    rows, columns = linear_sum_assignment(-table)
    return int(table[rows, columns].sum())
