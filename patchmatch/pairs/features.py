"""What matchers share that describe both pictures first and compare the descriptors."""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.pairs.matcher import Found, PairMatcher
from patchmatch.pairs.matching import match_descriptors
from patchmatch.pairs.points import crop, tiles, widened, within

OVERLAP = 64  # pixels that tiles reach beyond what they answer for, so that blobs stay whole
FAINT = 0.25  # of the range: below it a picture is stretched, since contrast decides what is kept


@dataclass(frozen=True)
class Features:
    """Places of a picture and what they look like.

    Attributes:
        points: (N, 2) float, x and y in pixels.
        descriptors: (N, D) float, each of length one.
        response: (N,) float, how clearly each stands out.
    """

    points: Tensor
    descriptors: Tensor
    response: Tensor

    def __getitem__(self, index: Tensor) -> "Features":
        """Return the features that a long or bool index names."""
        return Features(self.points[index], self.descriptors[index], self.response[index])


class FeatureMatcher(PairMatcher, abc.ABC):
    """Base of matchers that describe the places of both pictures and compare the descriptors.

    Args:
        check: What makes a match: ratio (the second nearest descriptor must be farther by far),
            mutual (each must be the nearest of the other), or both.
        ratio: What the distance of the nearest descriptor to that of the second nearest may be.
        max_keypoints: How many places of each picture to describe at most, the clearest ones.
        tile: Side in pixels of the tiles in which a large picture is described, to save memory;
            null describes it at once.
    """

    apart = 0.0  #: Pixels below which the second nearest descriptor counts as the nearest.

    def __init__(
        self,
        check: str = "both",
        ratio: float = 0.8,
        max_keypoints: int = 10_000,
        tile: int | None = 2048,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if check not in ("ratio", "mutual", "both"):
            raise ValueError(f"check must be ratio, mutual or both, got {check}")
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must lie above 0 and not above 1, got {ratio}")
        if max_keypoints < 1:
            raise ValueError(f"max_keypoints must be at least 1, got {max_keypoints}")
        if tile is not None and tile < 2 * OVERLAP:
            raise ValueError(f"tile must be at least {2 * OVERLAP} pixels, got {tile}")
        self.check, self.ratio = check, ratio
        self.max_keypoints, self.tile = max_keypoints, tile

    @abc.abstractmethod
    def describe(
        self, image: Float[Tensor, "1 1 H W"], valid: Bool[Tensor, "1 H W"] | None
    ) -> Features:
        """Return the features of a gray image in [0, 1]; those where it is not valid may stay."""

    def complete(self, image: Float[Tensor, "1 1 H W"], features: Features) -> Features:
        """Return the features of a whole image with their descriptors, if ``describe`` left any."""
        return features

    def find(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Describe both images and match the descriptors."""
        features0, features1 = self._all(image0, valid0), self._all(image1, valid1)
        index0, index1, score = match_descriptors(
            features0.descriptors,
            features1.descriptors,
            ratio=None if self.check == "mutual" else self.ratio,
            mutual=self.check != "ratio",
            points1=features1.points,
            apart=self.apart,
        )
        found0, found1 = features0[index0], features1[index1]
        return Found(found0.points, found1.points, score, found0.descriptors, found1.descriptors)

    def _all(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the clearest features of an image, tile by tile."""
        parts = []
        for box in tiles(image.shape[-2], image.shape[-1], self.tile):
            around = widened(box, OVERLAP, image)
            part = None if valid is None else crop(valid, around)
            found = self.describe(crop(image, around), part)
            points = found.points + found.points.new_tensor(around[:2])
            whole = Features(points, found.descriptors, found.response)
            parts.append(whole[within(points, box)])
        joined = Features(
            torch.cat([part.points for part in parts]),
            torch.cat([part.descriptors for part in parts]),
            torch.cat([part.response for part in parts]),
        )
        if len(joined.response) > self.max_keypoints:
            best = joined.response.argsort(descending=True, stable=True)[: self.max_keypoints]
            joined = joined[best.sort().values]
        return self.complete(image, joined)


def as_bytes(image: Tensor) -> np.ndarray:
    """Return a gray image (1, 1, H, W) in [0, 1] as (H, W) uint8 for OpenCV.

    One that uses little of the range, as 12 bits in a file of 16 do, is stretched over it.
    """
    gray = image[0, 0].float().cpu()
    low, high = gray.amin(), gray.amax()
    if 0 < high - low < FAINT:
        gray = (gray - low) / (high - low)
    return (gray * 255).round().clamp(0, 255).byte().numpy()
