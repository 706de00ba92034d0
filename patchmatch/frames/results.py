"""Results of frame and patch matching."""

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from patchmatch.core.results import Result

STILL_BELOW, LARGER_FROM = 0.5, 1.5  # pixels


class Kind(IntEnum):
    """Class of a block by the length of its displacement."""

    STILL = 0  #: no motion
    ONE_PIXEL = 1  #: one pixel in x, in y or in both
    LARGER = 2  #: more than one pixel, or occluded

    @property
    def label(self) -> str:
        """The name in tables: ``still``, ``one_pixel`` or ``larger``."""
        return self.name.lower()


def kind_of(displacement: Tensor) -> Tensor:
    """Return the kind of each displacement by its length, rounded to integer pixels.

    Args:
        displacement: (..., 2), dx and dy in pixels; subtract the camera motion first to classify
            the motion of objects.

    Returns:
        (...) long, values of ``Kind``.
    """
    length = displacement.float().norm(dim=-1)
    return (length >= STILL_BELOW).long() + (length >= LARGER_FROM).long()


def score_of_length(length: Tensor) -> Tensor:
    """Return the score of each block of a frame pair: how much it changed.

    The score is ``length / (length + 1 + m)`` with the median length m of all blocks, which is
    zero unless the scene moves as a whole: 0 is still, 0.5 one pixel in a still scene. It grows
    with the length everywhere, so that the largest changes rank first.

    Args:
        length: (N,) expected length of the displacement in pixels.

    Returns:
        (N,) in [0, 1).
    """
    if not len(length):
        return length
    return length / (length + 1 + length.median())


@dataclass(frozen=True, kw_only=True, repr=False)
class PatchMatches(Result):
    """The shift between the two patches of each of N patch pairs.

    Attributes:
        displacement: (N, 2) float, dx and dy in pixels: the most probable of the nine shifts
            within one pixel, also where the kind is ``LARGER``.
        kind: (N,) long, values of ``Kind``.
        score: (N,) float in [0, 1], the probability of the most probable class.
    """

    displacement: Tensor
    kind: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.displacement)


@dataclass(frozen=True, kw_only=True, repr=False)
class DenseFlow(Result):
    """The motion of every pixel between two frames.

    Attributes:
        flow: (2, H, W) float, dx and dy in pixels from frame 0 to frame 1.
        confidence: (H, W) float in [0, 1], the probability that the flow is correct within one
            pixel; low where the pixel is occluded in frame 1 or has left it.
    """

    flow: Tensor
    confidence: Tensor


@dataclass(frozen=True, kw_only=True, repr=False)
class FrameChanges(Result):
    """The changes of all N blocks of a frame pair.

    Attributes:
        source: Name of the sequence.
        frame0: Name of the earlier frame.
        frame1: Name of the later frame.
        boxes: The blocks, (N, 4) long, xyxy in pixels, half-open.
        displacement: (N, 2) float, dx and dy in pixels from ``frame0`` to ``frame1``, without
            ``camera``; NaN where ``matched`` is False, whatever is passed.
        kind: (N,) long, values of ``Kind``.
        score: (N,) float in [0, 1), how much a block changed, see ``score_of_length``: 0 is
            still, 0.5 one pixel in a still scene (0.5 to 0.75 with the shift matcher, where
            ``larger`` is about 0.8).
        matched: (N,) bool, True where the content of the block is found in ``frame1``. False where
            it is occluded, has left the frame or lies outside the search range.
        confidence: (N,) float in [0, 1], the probability that the displacement is correct.
        camera: (N, 2) float, the motion caused by the camera, which ``displacement``, ``kind`` and
            ``score`` exclude; None where it is not estimated.
        time0: Time of the earlier frame in seconds from the start; None where unknown.
        time1: Time of the later frame.
        flow: (2, H, W) float, dx and dy in pixels of every pixel, with the motion of the camera;
            NaN where its confidence is too low; None where only blocks are measured.
    """

    source: str
    frame0: str
    frame1: str
    boxes: Tensor
    displacement: Tensor
    kind: Tensor
    score: Tensor
    matched: Tensor
    confidence: Tensor
    camera: Tensor | None = None
    time0: float | None = None
    time1: float | None = None
    flow: Tensor | None = None

    def __post_init__(self) -> None:
        known = self.displacement.masked_fill(~self.matched[:, None], torch.nan)
        object.__setattr__(self, "displacement", known)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def total_displacement(self) -> Tensor:
        """(N, 2), the displacement with the motion of the camera; NaN where unmatched."""
        if self.camera is None:
            return self.displacement
        return self.displacement + self.camera.nan_to_num()

    @property
    def boxes1(self) -> Tensor:
        """(N, 4) long, where the content of each block is in ``frame1``, to the nearest pixel.

        Unmatched blocks, and those that moved by less than 1.5 pixels, stay where they are.
        """
        total = self.total_displacement.nan_to_num(0.0, 0.0, 0.0)
        moved = total.norm(dim=1, keepdim=True) >= LARGER_FROM
        return self.boxes + torch.where(moved, total, 0.0).round().long().repeat(1, 2)

    def __getitem__(self, index: Tensor) -> "FrameChanges":
        """Return the blocks selected by a long or bool index."""
        return replace(
            self,
            boxes=self.boxes[index],
            displacement=self.displacement[index],
            kind=self.kind[index],
            score=self.score[index],
            matched=self.matched[index],
            confidence=self.confidence[index],
            camera=None if self.camera is None else self.camera[index],
        )

    def top(self, k: int, min_score: float = 0.0) -> "FrameChanges":
        """Return the ``k`` blocks with the highest scores in descending order.

        Still blocks and blocks with a score below ``min_score`` are excluded, so the result may
        have fewer than ``k`` blocks. Of equal scores the higher confidence is first, see ``rank``.
        """
        changed = torch.nonzero((self.kind != Kind.STILL) & (self.score >= min_score)).flatten()
        return self[changed[rank(self.score[changed], self.confidence[changed])[:k]]]


def rank(score: Tensor, confidence: Tensor) -> Tensor:
    """Return the order of N blocks by descending score, then by descending confidence.

    What is equal in both is ordered at random, by a fixed seed, so that the first k are spread
    over the frame instead of lying at its top.
    """
    order = torch.randperm(len(score), generator=torch.Generator().manual_seed(len(score)))
    for values in (confidence, score):
        order = order[torch.argsort(values[order], descending=True, stable=True)]
    return order
