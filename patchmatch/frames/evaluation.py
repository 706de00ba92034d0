"""How right the boxes of ``changes.csv`` are, measured against exact truth.

The truth is a folder as ``patchmatch.frames.cows`` writes it: ``truth_masks.npz`` holds ``labels``
(T, H, W), the object that each pixel of ``frame_0``, ``frame_1``, ... shows, and ``velocity``
(K + 1, 2), the dx, dy of every label in pixels a frame. Label 0 is the background, which stands
still; label 255 is undecided and counts for nothing.

A box is right when the block it marks truly moves as its kind says (``block_truth``); boxes on
blocks of several motions are ambiguous, and are left out of precision. An object is found in a
pair when a box of its kind lies on it.
"""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmatch.frames.evaluation_files import MASKS, Box, Labels, read_boxes, read_truth

MAJORITY, TRACE = 0.8, 0.05  # parts of a block, see block_truth
SMALLEST_OBJECT = 26 * 26  # visible pixels: a block's area
STILL, ONE_PIXEL, LARGER, AMBIGUOUS = 0, 1, 2, -1


@dataclass(frozen=True)
class KindScores:
    """What became of the boxes and the objects of one kind of movement.

    Attributes:
        boxes: Boxes of this kind.
        right: Those on blocks that truly move so.
        still: False alarms: those on blocks where nothing moves.
        ambiguous: Those on blocks of several motions, which are neither right nor wrong.
        objects: Objects that truly move so and are large enough, counted in every pair.
        found: Those on which at least one box of this kind lies.
    """

    boxes: int = 0
    right: int = 0
    still: int = 0
    ambiguous: int = 0
    objects: int = 0
    found: int = 0

    @property
    def precision(self) -> float:
        """Part of the unambiguous boxes that are right; nan without any."""
        return _part(self.right, self.boxes - self.ambiguous)

    @property
    def recall(self) -> float:
        """Part of the objects that are found; nan without any."""
        return _part(self.found, self.objects)


@dataclass(frozen=True)
class ChangeScores:
    """Scores of a table of changes.

    Attributes:
        one_pixel: Of the green boxes, and of objects that move by one pixel.
        larger: Of the red boxes, and of objects that move farther.
        exact: Green boxes on unambiguous blocks whose dx and dy are the truth's.
        pairs: Frame pairs of the truth.
    """

    one_pixel: KindScores
    larger: KindScores
    exact: int
    pairs: int

    @property
    def exact_share(self) -> float:
        """Part of the green boxes on unambiguous blocks whose dx and dy are right."""
        return _part(self.exact, self.one_pixel.boxes - self.one_pixel.ambiguous)


def score_changes(
    changes_csv: str | Path, truth_folder: str | Path, still_share: float = MAJORITY
) -> ChangeScores:
    """Compare the boxes of one sequence with its truth.

    Every pair of frames of the truth counts that lies as far apart as one of the table, those
    without a box too; of an empty table, the pairs of neighbours. Of an object,
    at least 26 x 26 pixels (a block's area) must be visible in both frames; smaller ones are left
    out of recall. A box lies on an object when at least half of the box's pixels, or at least half
    of the object's, are the object's pixels in the box, in the earlier frame.

    Args:
        changes_csv: Table as ``ChangeBoxes`` writes it, of the frames of ``truth_folder``.
        truth_folder: Folder with ``truth_masks.npz``.
        still_share: As in ``block_truth``.

    Returns:
        The scores.

    Raises:
        InputError: If a file is missing or damaged, or if they do not belong together.
    """
    labels, velocity = read_truth(Path(truth_folder) / MASKS)
    boxes = read_boxes(Path(changes_csv), labels.shape)
    counts = {kind: collections.Counter[str]() for kind in (ONE_PIXEL, LARGER)}
    exact = 0
    gaps = sorted({later - earlier for earlier, later in boxes}) or [1]
    pairs = [(t - gap, t) for gap in gaps for t in range(gap, len(labels))]
    for earlier, later in pairs:
        found = boxes.get((earlier, later), [])
        corners = [box.corners for box in found]
        seen, displacement = (labels[earlier], labels[later]), (later - earlier) * velocity
        kinds, moved = _judge(*seen, displacement, corners, still_share)
        for box, kind, truth in zip(found, kinds.tolist(), moved.tolist(), strict=True):
            count = counts[box.kind]
            count["boxes"] += 1
            count["right"] += kind == box.kind
            count["still"] += kind == STILL
            count["ambiguous"] += kind == AMBIGUOUS
            exact += kind != AMBIGUOUS and box.displacement == tuple(truth)
        for kind, is_found in _objects(*seen, displacement, found):
            counts[kind]["objects"] += 1
            counts[kind]["found"] += is_found
    green, red = (KindScores(**counts[kind]) for kind in (ONE_PIXEL, LARGER))
    return ChangeScores(green, red, exact, pairs=len(pairs))


def block_truth(
    labels0: Labels,
    labels1: Labels,
    velocity: NDArray[np.integer],
    boxes: ArrayLike,
    still_share: float = MAJORITY,
) -> NDArray[np.int64]:
    """Say what truly happens in each block of a frame pair.

    A block of which one motion holds at least 80 % of the pixels, in frame 0 and in frame 1, has
    the kind of that motion. Otherwise a block in which objects that move cover less than 5 % in
    both frames is still, even where a shadow passes: the ground does not move. Every other block
    is ambiguous, and is to be left out of precision and recall.

    Args:
        labels0: (H, W) labels of frame 0.
        labels1: (H, W) labels of frame 1.
        velocity: (K + 1, 2) displacement of every label from frame 0 to frame 1.
        boxes: (N, 4) integer xyxy, half-open, inside the image.
        still_share: Part of a block that must stand still for a still block. 0.95 makes the blocks
            ambiguous into which a walking cow reaches a little; even a perfect matcher of blocks
            is often drawn to the cow there.

    Returns:
        (N,) kinds: 0 still, 1 moved by one pixel (the larger of ``|dx|`` and ``|dy|`` is 1),
        2 moved by more, -1 ambiguous.
    """
    return _judge(labels0, labels1, velocity, boxes, still_share)[0]


def _judge(
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
            f"labels of a frame pair must have one shape, got {labels0.shape} and "
            f"{labels1.shape}; take both from the same sequence"
        )
    if outside.any():
        raise ValueError(
            f"boxes must be xyxy with area inside the {height}x{width} image, got "
            f"{boxes[outside][0].tolist()}; clip them to the image first"
        )
    motions, motion_of_label = np.unique(velocity, axis=0, return_inverse=True)
    motion_of_label = motion_of_label.reshape(-1)

    def cover(selected: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the part of each block that selected motions hold, in both frames: (2, N)."""
        table = np.zeros(256, np.uint8)  # UNDECIDED stays 0
        table[: len(velocity)] = selected[motion_of_label]
        totals = (cv2.integral(table[labels]) for labels in (labels0, labels1))  # (H + 1, W + 1)
        inside = [t[y1, x1] - t[y0, x1] - t[y1, x0] + t[y0, x0] for t in totals]
        return np.stack(inside) / ((x1 - x0) * (y1 - y0))

    kind_of_motion = np.abs(motions).max(axis=1).clip(max=2)
    kinds = np.full(len(boxes), AMBIGUOUS, np.int64)
    moved = np.zeros((len(boxes), 2), np.int64)
    kinds[cover(kind_of_motion > 0).max(axis=0) < TRACE] = STILL
    for motion, kind in enumerate(kind_of_motion):
        share = MAJORITY if kind else still_share
        decided = cover(np.arange(len(motions)) == motion).min(axis=0) >= share
        kinds[decided], moved[decided] = kind, motions[motion]
    return kinds, moved


def _objects(
    labels0: Labels, labels1: Labels, velocity: NDArray[np.integer], boxes: Sequence[Box]
) -> Iterator[tuple[int, bool]]:
    """Yield kind and whether it is found, for each moving object that shows enough of itself."""
    for k, kind in enumerate(np.abs(velocity).max(axis=1).clip(max=2).tolist()):
        shown = labels0 == k
        size = int(shown.sum())
        if kind == STILL or min(size, int((labels1 == k).sum())) < SMALLEST_OBJECT:
            continue
        parts = (
            shown[y0:y1, x0:x1] for x0, y0, x1, y1 in (b.corners for b in boxes if b.kind == kind)
        )
        yield kind, any(2 * part.sum() >= min(part.size, size) for part in parts)


def _part(count: int, total: int) -> float:
    return count / total if total else float("nan")
