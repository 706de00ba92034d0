"""Evaluation of the boxes in ``changes.csv`` against exact ground truth.

The ground truth is a folder written by ``patchmatch.frames.cows``. Its ``truth_masks.npz`` holds
``labels`` (T, H, W), the object shown by each pixel of ``frame_0``, ``frame_1``, ..., and
``velocity`` (K + 1, 2), the dx, dy of each label in pixels per frame. Label 0 is the static
background; label 255 is ignored.

A box is correct if its block moves according to its kind (``block_truth``). Blocks with several
motions are ambiguous and excluded from precision. An object is detected in a pair if a box of its
kind lies on it.
"""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmatch.frames.evaluation_files import MASKS, Box, Labels, read_boxes, read_truth

MAJORITY_SHARE, TRACE_SHARE = 0.8, 0.05  # shares of a block's pixels, see block_truth
MIN_OBJECT_AREA = 26 * 26  # visible pixels: the area of a block
STILL, ONE_PIXEL, LARGER, AMBIGUOUS = 0, 1, 2, -1


@dataclass(frozen=True, kw_only=True)
class KindScores:
    """Counts of boxes and objects of one kind of motion.

    Attributes:
        boxes: Boxes of this kind.
        correct: Boxes on blocks of this kind.
        still: Boxes on still blocks (false alarms).
        ambiguous: Boxes on blocks with several motions.
        objects: Objects of this kind and of sufficient size, summed over the pairs.
        detected: Objects with at least one box of this kind.
    """

    boxes: int = 0
    correct: int = 0
    still: int = 0
    ambiguous: int = 0
    objects: int = 0
    detected: int = 0

    @property
    def precision(self) -> float:
        """Share of the unambiguous boxes that are correct; NaN without any."""
        return _share(self.correct, self.boxes - self.ambiguous)

    @property
    def recall(self) -> float:
        """Share of the objects that are detected; NaN without any."""
        return _share(self.detected, self.objects)


@dataclass(frozen=True, kw_only=True)
class ChangeScores:
    """Scores of a table of changes.

    Attributes:
        one_pixel: Green boxes, and objects that move by one pixel.
        larger: Red boxes, and objects that move by more.
        exact: Green boxes on unambiguous blocks with the correct dx and dy.
        pairs: Evaluated frame pairs.
    """

    one_pixel: KindScores
    larger: KindScores
    exact: int
    pairs: int

    @property
    def exact_share(self) -> float:
        """Share of the green boxes on unambiguous blocks with the correct dx and dy."""
        return _share(self.exact, self.one_pixel.boxes - self.one_pixel.ambiguous)


def score_changes(
    changes_csv: str | Path, truth_folder: str | Path, still_share: float = MAJORITY_SHARE
) -> ChangeScores:
    """Compare the boxes of one sequence with its ground truth.

    For each frame distance in the table, all frame pairs at this distance are evaluated, also
    those without a box; for an empty table, all consecutive pairs. Objects with fewer than 26 x 26
    visible pixels (the area of a block) in either frame are excluded from recall. A box lies on an
    object if, in the earlier frame, the object's pixels inside the box are at least half of the
    box or at least half of the object.

    Args:
        changes_csv: Table written by ``ChangeBoxes`` for the frames of ``truth_folder``.
        truth_folder: Folder with ``truth_masks.npz``.
        still_share: See ``block_truth``.

    Returns:
        The scores.

    Raises:
        InputError: If a file is missing or damaged, or the files do not match.
    """
    labels, velocity = read_truth(Path(truth_folder) / MASKS)
    boxes_of = read_boxes(Path(changes_csv), labels.shape)
    counts = {kind: collections.Counter[str]() for kind in (ONE_PIXEL, LARGER)}
    exact = 0
    gaps = sorted({later - earlier for earlier, later in boxes_of}) or [1]
    pairs = [(t - gap, t) for gap in gaps for t in range(gap, len(labels))]
    for earlier, later in pairs:
        boxes = boxes_of.get((earlier, later), [])
        corners = [box.corners for box in boxes]
        pair, displacement = (labels[earlier], labels[later]), (later - earlier) * velocity
        kinds, motions = _block_motion(*pair, displacement, corners, still_share)
        for box, kind, motion in zip(boxes, kinds.tolist(), motions.tolist(), strict=True):
            count = counts[box.kind]
            count["boxes"] += 1
            count["correct"] += kind == box.kind
            count["still"] += kind == STILL
            count["ambiguous"] += kind == AMBIGUOUS
            exact += kind != AMBIGUOUS and box.displacement == tuple(motion)
        for kind, is_detected in _objects(*pair, displacement, boxes):
            counts[kind]["objects"] += 1
            counts[kind]["detected"] += is_detected
    one_pixel, larger = (KindScores(**counts[kind]) for kind in (ONE_PIXEL, LARGER))
    return ChangeScores(one_pixel=one_pixel, larger=larger, exact=exact, pairs=len(pairs))


def block_truth(
    labels0: Labels,
    labels1: Labels,
    velocity: NDArray[np.integer],
    boxes: ArrayLike,
    still_share: float = MAJORITY_SHARE,
) -> NDArray[np.int64]:
    """Return the true kind of each block of a frame pair.

    A block has the kind of a motion that covers at least 80 % of its pixels in both frames.
    Otherwise it is still if moving objects cover less than 5 % of it in both frames; a moving
    shadow does not count. All other blocks are ambiguous.

    Args:
        labels0: (H, W) labels of frame 0.
        labels1: (H, W) labels of frame 1.
        velocity: (K + 1, 2) displacement of each label from frame 0 to frame 1.
        boxes: (N, 4) integer xyxy, half-open, inside the image.
        still_share: Minimum static share of a still block. 0.95 makes blocks at the border of a
            moving object ambiguous, where even an ideal block matcher often follows the object.

    Returns:
        (N,) kinds: 0 still, 1 moved by one pixel (the maximum of ``|dx|`` and ``|dy|`` is 1),
        2 moved by more, -1 ambiguous.
    """
    return _block_motion(labels0, labels1, velocity, boxes, still_share)[0]


def _block_motion(
    labels0: Labels,
    labels1: Labels,
    velocity: NDArray[np.integer],
    boxes: ArrayLike,
    still_share: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the kinds of ``block_truth`` and the (N, 2) displacements, 0 where ambiguous."""
    boxes = np.asarray(boxes, dtype=np.int64).reshape(-1, 4)
    x0, y0, x1, y1 = boxes.T
    height, width = labels0.shape
    outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height) | (x0 >= x1) | (y0 >= y1)
    if labels1.shape != labels0.shape:
        raise ValueError(
            f"labels0 and labels1 must have equal shapes, got {labels0.shape} and "
            f"{labels1.shape}; take both from the same sequence"
        )
    if outside.any():
        raise ValueError(
            f"boxes must be non-empty xyxy inside the {height}x{width} image, got "
            f"{boxes[outside][0].tolist()}; clip them to the image first"
        )
    motions, motion_of_label = np.unique(velocity, axis=0, return_inverse=True)
    motion_of_label = motion_of_label.reshape(-1)

    def coverage(selected: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the share of each block covered by selected motions, in both frames: (2, N)."""
        table = np.zeros(256, np.uint8)  # IGNORE_LABEL stays 0
        table[: len(velocity)] = selected[motion_of_label]
        integrals = (cv2.integral(table[labels]) for labels in (labels0, labels1))  # (H+1, W+1)
        counts = [s[y1, x1] - s[y0, x1] - s[y1, x0] + s[y0, x0] for s in integrals]
        return np.stack(counts) / ((x1 - x0) * (y1 - y0))

    kind_of_motion = np.abs(motions).max(axis=1).clip(max=2)
    kinds = np.full(len(boxes), AMBIGUOUS, np.int64)
    displacement = np.zeros((len(boxes), 2), np.int64)
    kinds[coverage(kind_of_motion > 0).max(axis=0) < TRACE_SHARE] = STILL
    for motion, kind in enumerate(kind_of_motion):
        share = MAJORITY_SHARE if kind else still_share
        decided = coverage(np.arange(len(motions)) == motion).min(axis=0) >= share
        kinds[decided], displacement[decided] = kind, motions[motion]
    return kinds, displacement


def _objects(
    labels0: Labels, labels1: Labels, velocity: NDArray[np.integer], boxes: Sequence[Box]
) -> Iterator[tuple[int, bool]]:
    """Yield (kind, is detected) of each moving object of sufficient visible size."""
    for k, kind in enumerate(np.abs(velocity).max(axis=1).clip(max=2).tolist()):
        mask = labels0 == k
        area = int(mask.sum())
        if kind == STILL or min(area, int((labels1 == k).sum())) < MIN_OBJECT_AREA:
            continue
        parts = (
            mask[y0:y1, x0:x1] for x0, y0, x1, y1 in (b.corners for b in boxes if b.kind == kind)
        )
        yield kind, any(2 * part.sum() >= min(part.size, area) for part in parts)


def _share(count: int, total: int) -> float:
    return count / total if total else float("nan")
