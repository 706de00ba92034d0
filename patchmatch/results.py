"""What a matcher hands to a writer: frozen dataclasses of tensors and names, always on the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class NearestNeighbourField:
    """Where every patch of image 0 is found in image 1.

    A patch is named by its centre; pixels whose patch would not lie wholly inside image 0 have what
    the nearest pixel has whose patch does.

    Attributes:
        flow: (2, H, W) long, dx and dy in pixels from image 0 to image 1; of K matches a pixel
            (K, 2, H, W), the best first.
        cost: (H, W) float or (K, H, W): the sum over the patch and its channels of squared, or of
            absolute, differences. Infinite where nothing could be matched.
    """

    flow: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Step:
    """How well image 0 can be rebuilt after an iteration.

    Attributes:
        iteration: Its number, from 1 on.
        ssd: Mean over the whole patches of image 0 of their squared difference from what they were
            matched with, per pixel: summed over the channels of the pictures, which are in [0, 1].
        psnr: Of the picture rebuilt by voting, in dB; infinite where it is the picture itself.
        ssim: The same picture's structural similarity, at most 1; NaN below 11 pixels.
        seconds: Spent on matching until then, without what is measured here.
    """

    iteration: int
    ssd: float
    psnr: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class DenseMatches:
    """Where every pixel of image 0 is found in image 1.

    Attributes:
        name: Name of the pair.
        image0: Name of the picture that was sought.
        image1: Name of the picture that it was sought in.
        patch_size: Side of the patches in pixels.
        flow: (2, H, W) long, dx and dy in pixels; (K, 2, H, W), the best first, for K > 1.
        cost: (H, W) or (K, H, W) float, what the matcher minimised; infinite where nothing was
            sought.
        rebuilt_centre: (C, H, W) float in [0, 1], every pixel copied from its best match.
        rebuilt_vote: (C, H, W) float in [0, 1], every pixel the mean of what all patches over it
            say.
        steps: What each iteration reached, in order.
        seconds: Spent on matching, both ways where that was asked for.
        valid: (H, W) bool, which pixels were sought; None for all. The others are black in the
            rebuilt pictures.
        consistent: (H, W) bool, where the best match leads back to where it came from; None where
            that was not asked for.
        flow10: The flow from image 1 to image 0, (2, H1, W1); None without ``consistent``.
        kept: The picture rebuilt by voting after some iterations, by their number.
    """

    name: str
    image0: str
    image1: str
    patch_size: int
    flow: Tensor
    cost: Tensor
    rebuilt_centre: Tensor
    rebuilt_vote: Tensor
    steps: tuple[Step, ...]
    seconds: float
    valid: Tensor | None = None
    consistent: Tensor | None = None
    flow10: Tensor | None = None
    kept: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def consistent_share(self) -> float | None:
        """The share of the pixels sought whose match leads back; None where not asked for."""
        if self.consistent is None:
            return None
        sought = self.consistent if self.valid is None else self.consistent[self.valid]
        return sought.float().mean().item()

    @property
    def best_flow(self) -> Tensor:
        """The flow to the best match, (2, H, W)."""
        return self.flow if self.flow.ndim == 3 else self.flow[0]

    @property
    def best_cost(self) -> Tensor:
        """The cost of the best match, (H, W)."""
        return self.cost if self.cost.ndim == 2 else self.cost[0]


@dataclass(frozen=True)
class Matches:
    """Places of two images that show the same thing, the best first.

    Attributes:
        keypoints0: (N, 2) float, x and y in pixels of the file of image 0, whatever was resized
            on the way; (0, 0) is the centre of the top-left pixel.
        keypoints1: (N, 2) float, the same in image 1: row i belongs to row i of ``keypoints0``.
        score: (N,) float, higher is better.
        inliers: (N,) bool, which matches agree with ``homography``; None where there is none.
        homography: (3, 3) double, takes points of image 0 to image 1, its last entry 1; None where
            it was not asked for or fewer than four matches agree on one.
        seconds: Spent on matching; None where nobody measured.
    """

    keypoints0: Tensor
    keypoints1: Tensor
    score: Tensor
    inliers: Tensor | None = None
    homography: Tensor | None = None
    seconds: float | None = None

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Tensor | slice) -> "Matches":
        """Return the matches that a long or bool index names."""
        return replace(
            self,
            keypoints0=self.keypoints0[index],
            keypoints1=self.keypoints1[index],
            score=self.score[index],
            inliers=None if self.inliers is None else self.inliers[index],
        )
