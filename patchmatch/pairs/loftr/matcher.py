"""LoFTR and SE(2)-LoFTR: matches on a grid by a transformer, refined between pixels."""

import abc
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchmatch.core.errors import InputError
from patchmatch.pairs.detector_free import JointMatcher
from patchmatch.pairs.loftr.se2 import se2_loftr
from patchmatch.pairs.matcher import Found
from patchmatch.pairs.pretrained import download_weights, half_precision, read_weights

MODELS = ("outdoor", "indoor", "indoor_new")


class TransformerMatcher(JointMatcher, abc.ABC):
    """Base of matchers that are called as kornia's LoFTR is.

    Args:
        weights: File with the weights.
        max_size: Pixels to which the longest side of each image is reduced inside; null keeps
            every pixel, and takes as many times longer as there are tiles.
        tile: Side in pixels of what is matched at once: memory grows with its fourth power. Null
            matches any pair at once.
        half: Whether to compute in half precision, on CUDA alone.
        options: Of ``PairMatcher``.
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
    def load(self) -> nn.Module:
        """Return the network with its weights, or raise InputError."""

    def prepare(self) -> None:
        """Fetch the weights, once."""
        if self.net is None:
            self.net = self.load().to(self.device)

    def find_at_once(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Match two gray images; what is not valid is painted gray."""
        self.prepare()
        assert self.net is not None
        images = [
            image if valid is None else torch.where(valid[:, None], image, 0.5)
            for image, valid in ((image0, valid0), (image1, valid1))
        ]
        with half_precision(image0, self.half_precision):
            found = self.net({f"image{i}": image for i, image in enumerate(images)})
        # LoFTR counts from the corner of the top-left pixel, the house from its centre
        points0, points1 = (found[f"keypoints{i}"].float() - 0.5 for i in (0, 1))
        return Found(points0, points1, found["confidence"].float())


class LoFTRMatcher(TransformerMatcher):
    """LoFTR (Sun et al. 2021) of kornia, with its pretrained weights.

    Args:
        pretrained: Which weights to download once: outdoor (MegaDepth), indoor or indoor_new
            (ScanNet).
        weights: File with the weights, loftr_outdoor.ckpt of kornia for example, for machines
            without network. ``pretrained`` still tells which they are.
        options: Of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"

    def __init__(
        self, pretrained: str = "outdoor", weights: str | None = None, **options: Any
    ) -> None:
        super().__init__(weights=weights, **options)
        if pretrained not in MODELS:
            raise ValueError(f"pretrained must be one of {', '.join(MODELS)}, got {pretrained}")
        self.pretrained = pretrained

    def load(self) -> nn.Module:
        """Return kornia's LoFTR with downloaded weights or those of the file."""
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import default_cfg, urls

        option = "--model.weights"
        if self.weights is None:
            build = partial(LoFTR, self.pretrained)
            return download_weights("LoFTR", build, option, urls[self.pretrained][0])
        # these weights were trained with another encoding of places than the other two
        coarse = {**default_cfg["coarse"], "temp_bug_fix": self.pretrained == "indoor_new"}
        net = LoFTR(None, {**default_cfg, "coarse": coarse})
        return read_weights("LoFTR", net, self.weights, option)


class SE2LoFTRMatcher(TransformerMatcher):
    """LoFTR on features that turn with the picture (after Bökman and Kahl 2022).

    Nobody offers weights for this network; without a file of them it refuses to match.

    Args:
        weights: File with the state_dict of ``patchmatch.pairs.loftr.se2()``, as torch.save writes
            it.
        options: Of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_se2_loftr.yaml"

    def __init__(self, weights: str | None = None, **options: Any) -> None:
        super().__init__(weights=weights, **options)

    def load(self) -> nn.Module:
        """Return SE(2)-LoFTR with the weights of the file."""
        if self.weights is None:
            raise InputError(
                "SE(2)-LoFTR has no weights that could be downloaded, kornia has none: train "
                "patchmatch.pairs.loftr.se2() as LoFTR was trained and give the file of its "
                "state_dict as --model.weights"
            )
        return read_weights("SE(2)-LoFTR", se2_loftr(), self.weights, "--model.weights")
