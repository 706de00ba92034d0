"""LoFTR and SE(2)-LoFTR: detector-free matching with a transformer, coarse to fine."""

import abc
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchmatch.core.errors import InputError
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.loftr.se2 import se2_loftr
from patchmatch.pairs.pretrained import download_weights, half_precision, read_weights
from patchmatch.pairs.results import Correspondences

PRETRAINED = ("outdoor", "indoor", "indoor_new")


class TransformerMatcher(DetectorFreeMatcher, abc.ABC):
    """Base of matchers with the interface of kornia's LoFTR.

    Args:
        weights: Weight file of the network.
        max_size: Pixels to which the longest side of each image is reduced; null keeps the full
            size, which takes time in proportion to the number of tiles.
        tile: Side in pixels of the tiles that are matched at once; memory grows with its fourth
            power. Null matches the whole images at once.
        half: Compute in half precision (on CUDA only).
        options: Options of ``PairMatcher``.
    """

    def __init__(
        self,
        weights: str | None = None,
        max_size: int | None = 840,
        tile: int | None = 840,
        half: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, tile=tile, **options)
        self.weights, self.half_precision = weights, half
        self.net: nn.Module | None = None

    @abc.abstractmethod
    def load_net(self) -> nn.Module:
        """Return the network with its weights; raise InputError if they are not available."""

    def prepare(self) -> None:
        """Load the network on the first call."""
        if self.net is None:
            self.net = self.load_net().to(self.device)

    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Match two gray images; invalid pixels are replaced by 0.5."""
        self.prepare()
        assert self.net is not None
        images = [
            image if valid is None else torch.where(valid[:, None], image, 0.5)
            for image, valid in ((image0, valid0), (image1, valid1))
        ]
        with half_precision(image0, self.half_precision):
            matches = self.net({f"image{i}": image for i, image in enumerate(images)})
        # LoFTR's origin is the corner of the top-left pixel, ours is its centre.
        points0, points1 = (matches[f"keypoints{i}"].float() - 0.5 for i in (0, 1))
        return Correspondences(
            points0=points0, points1=points1, score=matches["confidence"].float()
        )


class LoFTRMatcher(TransformerMatcher):
    """LoFTR (Sun et al. 2021) of kornia with its pretrained weights.

    Args:
        pretrained: Pretrained weights: outdoor (MegaDepth), indoor or indoor_new (ScanNet). They
            are downloaded once.
        weights: Weight file, for machines without network access (for example kornia's
            loftr_outdoor.ckpt); ``pretrained`` must name the variant of the file.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"

    def __init__(
        self, pretrained: str = "outdoor", weights: str | None = None, **options: Any
    ) -> None:
        super().__init__(weights=weights, **options)
        if pretrained not in PRETRAINED:
            raise ValueError(f"pretrained must be one of {', '.join(PRETRAINED)}, got {pretrained}")
        self.pretrained = pretrained

    def load_net(self) -> nn.Module:
        """Return kornia's LoFTR with downloaded weights or those of the file."""
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import default_cfg, urls

        option = "--model.weights"
        if self.weights is None:
            build = partial(LoFTR, self.pretrained)
            return download_weights("LoFTR", build, option, urls[self.pretrained][0])
        # Only indoor_new was trained with the corrected positional encoding.
        coarse = {**default_cfg["coarse"], "temp_bug_fix": self.pretrained == "indoor_new"}
        net = LoFTR(None, {**default_cfg, "coarse": coarse})
        return read_weights("LoFTR", net, self.weights, option)


class SE2LoFTRMatcher(TransformerMatcher):
    """LoFTR with a rotation-equivariant backbone (after Bökman and Kahl 2022).

    Pretrained weights are not available; matching requires a weight file of your own.

    Args:
        weights: Weight file: the state_dict of ``patchmatch.pairs.loftr.se2.se2_loftr()``, saved
            with torch.save.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_se2_loftr.yaml"

    def __init__(self, weights: str | None = None, **options: Any) -> None:
        super().__init__(weights=weights, **options)

    def load_net(self) -> nn.Module:
        """Return SE(2)-LoFTR with the weights of the file."""
        if self.weights is None:
            raise InputError(
                "SE(2)-LoFTR: pretrained weights are not available for download; train "
                "patchmatch.pairs.loftr.se2.se2_loftr() as LoFTR is trained, and give the file of "
                "its state_dict as --model.weights"
            )
        return read_weights("SE(2)-LoFTR", se2_loftr(), self.weights, "--model.weights")
