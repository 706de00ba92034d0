"""How patches and blocks of frames have moved."""

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

STILL_BELOW, LARGER_FROM = 0.5, 1.5  # pixels


class Kind(IntEnum):
    """How far a block has moved between two frames."""

    STILL = 0  #: not at all
    ONE_PIXEL = 1  #: one pixel in x, in y or in both
    LARGER = 2  #: farther than one pixel, or what was there is gone

    @property
    def label(self) -> str:
        """The name in tables: ``still``, ``one_pixel`` or ``larger``."""
        return self.name.lower()


def kind_of(displacement: Tensor) -> Tensor:
    """Return the kind of each displacement: its length, rounded to whole pixels.

    Args:
        displacement: (..., 2), dx and dy in pixels, less the camera's where that does not count.

    Returns:
        (...) long, a ``Kind`` each.
    """
    length = displacement.float().norm(dim=-1)
    return (length >= STILL_BELOW).long() + (length >= LARGER_FROM).long()


@dataclass(frozen=True)
class PatchMatches:
    """By which shift each of N patches matches its partner.

    Attributes:
        displacement: (N, 2) float, dx and dy in pixels: the likeliest of the nine within one
            pixel, also where the kind is ``LARGER``.
        kind: (N,) long, a ``Kind`` each.
        score: (N,) float in [0, 1], the probability of the answer.
    """

    displacement: Tensor
    kind: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.displacement)


@dataclass(frozen=True)
class FrameChanges:
    """Every block of a frame pair and how it changed.

    Attributes:
        source: Name of the sequence that the frames belong to.
        frame0: Name of the earlier frame.
        frame1: Name of the later frame.
        boxes: The blocks, (N, 4) long, xyxy in pixels, half-open.
        displacement: (N, 2) float, dx and dy in pixels from ``frame0`` to ``frame1``. Where
            ``matched`` is false it is a guess.
        kind: (N,) long, a ``Kind`` each.
        score: (N,) float in [0, 1], how much the block changed: half the expected length of its
            displacement, with two pixels standing for everything larger. 0 is surely still, 0.5
            surely one pixel along an axis, 1 surely more.
        matched: (N,) bool, whether what the block shows in ``frame0`` was found in ``frame1``.
            It is false where it was covered, has left the picture or lies out of reach.
        confidence: (N,) float in [0, 1], how probably the displacement is right.
        camera: (N, 2) float, the part of the displacement that is the camera's own motion; None
            where it was not asked for. ``kind`` and ``score`` speak of the rest.
        time0: When the earlier frame was taken, in seconds from the start; None where not known.
        time1: The same of the later frame.
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

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor) -> "FrameChanges":
        """Return the blocks that a long or bool index names."""
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
        """Return the ``k`` blocks that changed most, the most changed first.

        Blocks that stood still and blocks that score less than ``min_score`` are left out, so
        there may be fewer than ``k``, or none. Equal scores keep the order of the blocks.
        """
        changed = torch.nonzero((self.kind != Kind.STILL) & (self.score >= min_score)).flatten()
        order = torch.argsort(self.score[changed], descending=True, stable=True)
        return self[changed[order[:k]]]
