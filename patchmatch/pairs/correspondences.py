"""Base of the matchers that find points in images of one size and orientation."""

import abc
import time
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import MIN_SIDE
from patchmatch.core.process import keep_freed_memory
from patchmatch.pairs.alignment import MIN_ALIGNED
from patchmatch.pairs.cameras import Cameras
from patchmatch.pairs.estimation import add_alignment, add_homography
from patchmatch.pairs.matcher import PairMatcher
from patchmatch.pairs.matching import drop_duplicates
from patchmatch.pairs.patch2pix.refinement import refine_found
from patchmatch.pairs.points import (
    as_gray,
    as_rgb,
    downscale_pair,
    inside,
    rescale_points,
    resize_mask,
    unrotate_points,
)
from patchmatch.pairs.results import Correspondences, Matches


class CorrespondenceMatcher(PairMatcher, abc.ABC):
    """Base of the matchers that find corresponding points of two prepared images.

    A subclass implements ``find_correspondences``. This class resizes and rotates the images,
    applies the masks, sorts the matches and estimates the homography.
    """

    #: Whether ``find_correspondences`` takes RGB images instead of gray ones.
    in_color = False

    @abc.abstractmethod
    def find_correspondences(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None,
        valid1: Bool[Tensor, "1 H1 W1"] | None,
    ) -> Correspondences:
        """Return the corresponding points of two images.

        Args:
            image0: Gray in [0, 1], or RGB with ``in_color``, at least 16 pixels a side.
            image1: The same, of any other size, on the same device.
            valid0: Pixels of image 0 that may be matched; None for all. The result may contain
                other points; ``match`` discards them.
            valid1: The same for image 1.
        """

    @torch.no_grad()
    def match(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None = None,
        valid1: Bool[Tensor, "1 H1 W1"] | None = None,
        cameras: Cameras | None = None,
    ) -> Matches:
        """Return the corresponding points of two images and the homography between them.

        The arguments and errors are those of ``PairMatcher.match``.
        """
        start = time.perf_counter()
        cameras = self.cameras if cameras is None else cameras
        if self.epipolar == "essential" and any(camera is None for camera in cameras):
            raise InputError(
                "an essential matrix requires intrinsics0: give fx, fy, cx, cy in pixels, as an "
                "option or in columns of a pairs.csv"
            )
        keep_freed_memory()
        convert = as_rgb if self.in_color else as_gray
        small0, small1 = downscale_pair(convert(image0), convert(image1), self.max_size)
        mask0, mask1 = resize_mask(valid0, small0), resize_mask(valid1, small1)
        best = Matches(
            keypoints0=torch.zeros(0, 2), keypoints1=torch.zeros(0, 2), score=torch.zeros(0)
        )
        if min(*small0.shape[-2:], *small1.shape[-2:]) >= MIN_SIDE:
            for quarters in range(0, 4, 4 // self.rotations):
                rotated = torch.rot90(small0, quarters, dims=(-2, -1))
                mask = None if mask0 is None else torch.rot90(mask0, quarters, dims=(-2, -1))
                found = self.find_correspondences(rotated, small1, mask, mask1)
                points0 = unrotate_points(found.points0.double().cpu(), small0.shape, quarters)
                points1, score = found.points1.double().cpu(), found.score.float().cpu()
                keep = inside(points0, mask0, small0) & inside(points1, mask1, small1)
                keep &= score >= self.min_score
                points0 = rescale_points(points0, small0.shape[-2:], image0.shape[-2:])
                points1 = rescale_points(points1, small1.shape[-2:], image1.shape[-2:])
                found = replace(found, points0=points0, points1=points1, score=score)[keep]
                matches = add_homography(self._sorted(found), self.threshold, self.seed)
                matches = add_alignment(matches, (image0, image1), (valid0, valid1))
                best = max(best, matches, key=_reliability)
        if self.refine is not None and len(best):
            best = add_homography(refine_found((image0, image1), best), self.threshold, self.seed)
            best = add_alignment(best, (image0, image1), (valid0, valid1))
        best = self.finish(best, cameras, (image0, image1), (valid0, valid1))
        return replace(best, seconds=time.perf_counter() - start)

    def _sorted(self, found: Correspondences) -> Matches:
        """Return the best ``max_matches`` matches without duplicate keypoints, best first."""
        order = found.score.argsort(descending=True, stable=True)
        distinct = drop_duplicates(found.points0[order], found.points1[order])
        best = found[order[distinct][: self.max_matches]]
        descriptors0, descriptors1 = best.descriptors0, best.descriptors1
        return Matches(
            keypoints0=best.points0.float(),
            keypoints1=best.points1.float(),
            score=best.score,
            descriptors0=None if descriptors0 is None else descriptors0.cpu(),
            descriptors1=None if descriptors1 is None else descriptors1.cpu(),
        )


def _reliability(matches: Matches) -> tuple[bool, int, int]:
    """Return whether the images are aligned, and the numbers of inliers and of matches."""
    if matches.inliers is None:
        return False, 0, len(matches)
    is_aligned = matches.aligned is None or matches.aligned >= MIN_ALIGNED
    return is_aligned, int(matches.inliers.sum()), len(matches)
