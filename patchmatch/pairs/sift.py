"""SIFT: scale-invariant features, compared by their nearest neighbours."""

from typing import Any

from torch import Tensor

from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.keypoints import detect_in_tensor, normalize_descriptors


class SIFTMatcher(FeatureMatcher):
    """SIFT features (Lowe 2004) of OpenCV, matched by ratio test and mutual nearest neighbours.

    Args:
        root: Compare the square roots of L1-normalised descriptors (RootSIFT, Arandjelovic and
            Zisserman 2012).
        contrast: Contrast threshold of SIFT; a lower value finds more keypoints in flat regions.
            Null chooses it by the image: 0.04, or 0.01 in dark and soft images with few keypoints.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_sift.yaml"

    def __init__(self, root: bool = True, contrast: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        if contrast is not None and not 0 <= contrast < 1:
            raise ValueError(f"contrast must be at least 0 and below 1, got {contrast}")
        self.root, self.contrast = root, contrast

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the SIFT features of a gray image (1, 1, H, W)."""
        found = detect_in_tensor(image, valid, self.contrast, describe=True)
        return Features(
            points=found.points,
            descriptors=normalize_descriptors(found.descriptors, self.root),
            response=found.response,
        )
