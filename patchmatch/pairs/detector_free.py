"""What matchers share that look at both pictures at once: large pairs are matched in tiles."""

import abc
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchmatch.pairs.geometry import estimate_homography
from patchmatch.pairs.matcher import SMALLEST_SIDE, Found, PairMatcher
from patchmatch.pairs.points import (
    crop,
    enlarged,
    reduced,
    reduced_pair,
    resized_mask,
    tiles,
    widened,
    within,
)

OVERLAP = 48  # pixels that a tile sees beyond what it answers for: none are found at an edge
SMALLEST_TILE = 4 * OVERLAP
FEWEST = 8  # matches of the first pass that a tile is sought by
STRAY = 1 / 16  # of a tile: how far the scene may depart from a plane in it


class JointMatcher(PairMatcher, abc.ABC):
    """Base of matchers that look at both pictures at once.

    A pair that is larger than a tile is matched reduced to one first. Then each tile of image 0 is
    matched, with every pixel, with the part of image 1 that shows the same; memory is that of two
    tiles, whatever the pictures. Where the first pass found too little, its matches stay.

    Args:
        tile: Side in pixels of what is matched at once; null matches any pair at once.
        options: Of ``PairMatcher``.
    """

    def __init__(self, tile: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if tile is not None and tile < SMALLEST_TILE:
            raise ValueError(f"tile must be at least {SMALLEST_TILE} pixels, got {tile}")
        self.tile = tile

    @abc.abstractmethod
    def find_at_once(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Return the corresponding points of two images, as ``find`` does."""

    def find(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Match a small pair at once and a large one tile by tile."""
        side = max(*image0.shape[-2:], *image1.shape[-2:])
        if self.tile is None or side <= self.tile:
            return self.find_at_once(image0, image1, valid0, valid1)
        small = reduced_pair(image0, image1, self.tile)
        guide = self._find_in(small, (image0, image1), (valid0, valid1))
        parts = []
        for box in tiles(image0.shape[-2], image0.shape[-1], self.tile - 2 * OVERLAP):
            around0 = widened(box, OVERLAP, image0)
            around1 = _partner(guide[within(guide.points0, around0)], around0, image1)
            here = guide[within(guide.points0, box)]
            if around1 is not None:
                cut = crop(image0, around0), crop(image1, around1)
                valid = (
                    None if mask is None else crop(mask, around)
                    for mask, around in ((valid0, around0), (valid1, around1))
                )
                small = cut[0], reduced(cut[1], self.tile + 2 * OVERLAP)
                found = self._find_in(small, cut, tuple(valid))
                points0 = found.points0 + found.points0.new_tensor(around0[:2])
                points1 = found.points1 + found.points1.new_tensor(around1[:2])
                found = Found(points0, points1, found.score)[within(points0, box)]
                here = found if len(found.score) else here
            parts.append(here)
        return Found(
            torch.cat([part.points0 for part in parts]),
            torch.cat([part.points1 for part in parts]),
            torch.cat([part.score for part in parts]),
        )

    def _find_in(
        self,
        small: tuple[Tensor, Tensor],
        images: tuple[Tensor, Tensor],
        valid: tuple[Tensor | None, ...],
    ) -> Found:
        """Match two images that were reduced; the points are those of the images themselves."""
        if min(*small[0].shape[-2:], *small[1].shape[-2:]) < SMALLEST_SIDE:
            empty = images[0].new_zeros(0, 2)
            return Found(empty, empty, empty[:, 0])
        masks = [resized_mask(mask, image) for mask, image in zip(valid, small, strict=True)]
        found = self.find_at_once(*small, *masks)
        points0, points1 = (
            enlarged(points, small[i], images[i].shape[-2:])
            for i, points in enumerate((found.points0, found.points1))
        )
        return Found(points0, points1, found.score)


def _partner(
    guide: Found, box: tuple[int, int, int, int], image1: Tensor
) -> tuple[int, int, int, int] | None:
    """Return the box of image 1 that shows what a box of image 0 does; None where nobody knows.

    Args:
        guide: The matches of the first pass in the box.
        box: x0, y0, x1, y1 in image 0.
        image1: (1, 1, H1, W1).
    """
    if len(guide.score) < FEWEST:
        return None
    x0, y0, x1, y1 = box
    points0, points1 = guide.points0.cpu().double().numpy(), guide.points1.cpu().double().numpy()
    estimate = estimate_homography(points0, points1, STRAY * max(x1 - x0, y1 - y0))
    if estimate.model is None or estimate.inliers.sum() < FEWEST:
        return None
    corners = np.array([[x, y, 1] for y in (y0, y1) for x in (x0, x1)]) @ estimate.model.T
    there = points1[estimate.inliers]
    if (corners[:, 2] > 0).all():  # else a corner goes to infinity
        spread = np.ptp(there, axis=0) + OVERLAP
        low, high = there.min(axis=0) - spread, there.max(axis=0) + spread
        there = np.r_[there, (corners[:, :2] / corners[:, 2:]).clip(low, high)]
    (left, top), (right, bottom) = np.floor(there.min(axis=0)), np.ceil(there.max(axis=0)) + 1
    found = widened((int(left), int(top), int(right), int(bottom)), OVERLAP, image1)
    return found if min(found[2] - found[0], found[3] - found[1]) >= SMALLEST_SIDE else None
