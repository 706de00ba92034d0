"""Base of the detector-free matchers; large image pairs are matched in tiles."""

import abc
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.image_pairs import MIN_SIDE
from patchmatch.pairs.correspondences import CorrespondenceMatcher
from patchmatch.pairs.geometry import estimate_homography
from patchmatch.pairs.points import (
    Box,
    crop,
    downscale,
    downscale_pair,
    expand_box,
    in_box,
    rescale_points,
    resize_mask,
    tiles,
)
from patchmatch.pairs.results import Correspondences

OVERLAP = 48  # pixels by which tiles are extended: matchers find nothing close to a border
MIN_TILE = 4 * OVERLAP
MIN_MATCHES = 8  # matches of the coarse pass that are needed to locate a tile in image 1
TOLERANCE = 1 / 16  # of the tile side: inlier threshold of its homography, as scenes have depth


class DetectorFreeMatcher(CorrespondenceMatcher, abc.ABC):
    """Base of the matchers that process both images jointly, without keypoint detection.

    A pair larger than a tile is first matched at reduced size. Then each tile of image 0 is
    matched at full size with the part of image 1 that shows the same, so that memory does not grow
    with the size of the images. Where that part cannot be located, the matches of the first pass
    are kept.

    Args:
        tile: Side in pixels of the tiles; null matches any pair at once.
        options: Options of ``PairMatcher``.
    """

    def __init__(self, tile: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if tile is not None and tile < MIN_TILE:
            raise ValueError(f"tile must be at least {MIN_TILE} pixels, got {tile}")
        self.tile = tile

    @abc.abstractmethod
    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Return the corresponding points of a tile, as ``find_correspondences`` does of images."""

    def find_correspondences(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Match a small pair at once, and a large one tile by tile."""
        side = max(*image0.shape[-2:], *image1.shape[-2:])
        if self.tile is None or side <= self.tile:
            return self.match_tile(image0, image1, valid0, valid1)
        reduced = downscale_pair(image0, image1, self.tile)
        coarse = self._match_reduced(reduced, (image0, image1), (valid0, valid1))
        parts = []
        for box in tiles(image0.shape[-2], image0.shape[-1], self.tile - 2 * OVERLAP):
            box0 = expand_box(box, OVERLAP, image0)
            box1 = _locate_tile(coarse[in_box(coarse.points0, box0)], box0, image1)
            part = coarse[in_box(coarse.points0, box)]
            if box1 is not None:
                crop0, crop1 = crop(image0, box0), crop(image1, box1)
                valid = (
                    None if valid0 is None else crop(valid0, box0),
                    None if valid1 is None else crop(valid1, box1),
                )
                reduced = crop0, downscale(crop1, self.tile + 2 * OVERLAP)
                found = self._match_reduced(reduced, (crop0, crop1), valid)
                points0 = found.points0 + found.points0.new_tensor(box0[:2])
                points1 = found.points1 + found.points1.new_tensor(box1[:2])
                fine = replace(found, points0=points0, points1=points1)[in_box(points0, box)]
                part = fine if len(fine.score) else part
            parts.append(part)
        return Correspondences(
            points0=torch.cat([part.points0 for part in parts]),
            points1=torch.cat([part.points1 for part in parts]),
            score=torch.cat([part.score for part in parts]),
        )

    def _match_reduced(
        self,
        reduced: tuple[Tensor, Tensor],
        images: tuple[Tensor, Tensor],
        valid: tuple[Tensor | None, Tensor | None],
    ) -> Correspondences:
        """Match two downscaled images; the points are in pixels of the original ones."""
        if min(*reduced[0].shape[-2:], *reduced[1].shape[-2:]) < MIN_SIDE:
            empty = images[0].new_zeros(0, 2)
            return Correspondences(points0=empty, points1=empty, score=empty[:, 0])
        masks = [resize_mask(mask, image) for mask, image in zip(valid, reduced, strict=True)]
        found = self.match_tile(*reduced, *masks)
        points0 = rescale_points(found.points0, reduced[0].shape[-2:], images[0].shape[-2:])
        points1 = rescale_points(found.points1, reduced[1].shape[-2:], images[1].shape[-2:])
        return replace(found, points0=points0, points1=points1)


def _locate_tile(coarse: Correspondences, box: Box, image1: Tensor) -> Box | None:
    """Return the box of image 1 that shows the same as a box of image 0; None if unknown.

    Args:
        coarse: Matches of the coarse pass in the box.
        box: x0, y0, x1, y1 in image 0.
        image1: (1, 1, H1, W1).
    """
    if len(coarse.score) < MIN_MATCHES:
        return None
    x0, y0, x1, y1 = box
    points0, points1 = coarse.points0.cpu().double().numpy(), coarse.points1.cpu().double().numpy()
    estimate = estimate_homography(points0, points1, TOLERANCE * max(x1 - x0, y1 - y0))
    if estimate.model is None or estimate.inliers.sum() < MIN_MATCHES:
        return None
    corners = np.array([[x, y, 1] for y in (y0, y1) for x in (x0, x1)]) @ estimate.model.T
    inliers1 = points1[estimate.inliers]
    if (corners[:, 2] > 0).all():  # otherwise a corner is mapped beyond infinity
        spread = np.ptp(inliers1, axis=0) + OVERLAP
        low, high = inliers1.min(axis=0) - spread, inliers1.max(axis=0) + spread
        inliers1 = np.r_[inliers1, (corners[:, :2] / corners[:, 2:]).clip(low, high)]
    left, top = np.floor(inliers1.min(axis=0))
    right, bottom = np.ceil(inliers1.max(axis=0)) + 1
    found = expand_box((int(left), int(top), int(right), int(bottom)), OVERLAP, image1)
    return found if min(found[2] - found[0], found[3] - found[1]) >= MIN_SIDE else None
