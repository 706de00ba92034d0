"""Base of the matchers that compare descriptors of keypoints."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.pairs.correspondences import CorrespondenceMatcher
from patchmatch.pairs.matching import match_descriptors
from patchmatch.pairs.points import crop, expand_box, in_box, tiles
from patchmatch.pairs.results import Correspondences

OVERLAP = 64  # pixels by which tiles are extended, so that blobs at a seam are complete


@dataclass(frozen=True, kw_only=True)
class Features:
    """Keypoints of an image and their descriptors.

    Attributes:
        points: (N, 2) float, x and y in pixels.
        descriptors: (N, D) float, each of length one.
        response: (N,) float, strength of each keypoint.
    """

    points: Tensor
    descriptors: Tensor
    response: Tensor

    def __getitem__(self, index: Tensor) -> "Features":
        """Return the features at a long or bool index."""
        return Features(
            points=self.points[index],
            descriptors=self.descriptors[index],
            response=self.response[index],
        )


class FeatureMatcher(CorrespondenceMatcher, abc.ABC):
    """Base of the matchers that detect keypoints in both images and compare their descriptors.

    Args:
        check: Test of a match: ratio (the second nearest descriptor must be much farther), mutual
            (both must be the nearest neighbours of each other), or both.
        ratio: Largest ratio of the distances of the nearest and the second nearest descriptor.
        max_keypoints: Number of strongest keypoints to use in each image.
        tile: Side in pixels of the tiles in which features are extracted, to save memory; null
            processes the whole image at once.
    """

    #: Values of ``check``.
    checks: ClassVar[tuple[str, ...]] = ("ratio", "mutual", "both")
    #: Distance in pixels below which the second nearest descriptor is ignored in the ratio test.
    spatial_threshold = 0.0

    def __init__(
        self,
        check: str = "both",
        ratio: float = 0.8,
        max_keypoints: int = 10_000,
        tile: int | None = 2048,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if check not in self.checks:
            names = f"{', '.join(self.checks[:-1])} or {self.checks[-1]}"
            raise ValueError(f"check must be {names}, got {check}")
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {ratio}")
        if max_keypoints < 1:
            raise ValueError(f"max_keypoints must be at least 1, got {max_keypoints}")
        if tile is not None and tile < 2 * OVERLAP:
            raise ValueError(f"tile must be at least {2 * OVERLAP} pixels, got {tile}")
        self.check, self.ratio = check, ratio
        self.max_keypoints, self.tile = max_keypoints, tile

    @abc.abstractmethod
    def extract_features(
        self, image: Float[Tensor, "1 C H W"], valid: Bool[Tensor, "1 H W"] | None
    ) -> Features:
        """Return the features of an image.

        Args:
            image: Gray in [0, 1], or RGB with ``in_color``.
            valid: Pixels that may have features; None for all. The result may contain others.
        """

    def compute_descriptors(self, image: Float[Tensor, "1 C H W"], features: Features) -> Features:
        """Return the features with the descriptors that ``extract_features`` left out."""
        return features

    def find_correspondences(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Extract the features of both images and match the descriptors."""
        features0 = self._extract_in_tiles(image0, valid0)
        features1 = self._extract_in_tiles(image1, valid1)
        sizes = image0.shape[-2:], image1.shape[-2:]
        index0, index1, score = self.match_features(features0, features1, *sizes)
        return Correspondences(
            points0=features0.points[index0],
            points1=features1.points[index1],
            score=score,
            descriptors0=features0.descriptors[index0],
            descriptors1=features1.descriptors[index1],
        )

    def match_features(
        self, features0: Features, features1: Features, size0: Sequence[int], size1: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match the features of two images.

        Args:
            features0: Features of image 0.
            features1: Features of image 1.
            size0: Height and width of image 0.
            size1: Height and width of image 1.

        Returns:
            Indices (M,) into the features of image 0 and of image 1, and scores (M,).
        """
        return match_descriptors(
            features0.descriptors,
            features1.descriptors,
            ratio=None if self.check == "mutual" else self.ratio,
            mutual=self.check != "ratio",
            points1=features1.points,
            spatial_threshold=self.spatial_threshold,
        )

    def _extract_in_tiles(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the strongest features of an image."""
        parts = []
        for box in tiles(image.shape[-2], image.shape[-1], self.tile):
            extended = expand_box(box, OVERLAP, image)
            mask = None if valid is None else crop(valid, extended)
            found = self.extract_features(crop(image, extended), mask)
            points = found.points + found.points.new_tensor(extended[:2])
            parts.append(replace(found, points=points)[in_box(points, box)])
        features = Features(
            points=torch.cat([part.points for part in parts]),
            descriptors=torch.cat([part.descriptors for part in parts]),
            response=torch.cat([part.response for part in parts]),
        )
        if len(features.response) > self.max_keypoints:
            best = features.response.argsort(descending=True, stable=True)[: self.max_keypoints]
            features = features[best.sort().values]
        return self.compute_descriptors(image, features)
