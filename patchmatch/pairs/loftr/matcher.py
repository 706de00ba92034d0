"""LoFTR and SE(2)-LoFTR: detector-free matching with a transformer, coarse to fine."""

from functools import partial
from typing import Any

from torch import nn

from patchmatch.pairs.loftr.net import (
    PUBLISHED_CHANNELS,
    PUBLISHED_HEADS,
    PUBLISHED_LAYERS,
    build_loftr,
)
from patchmatch.pairs.loftr.se2_backbone import FIELDS
from patchmatch.pairs.loftr.transformer import PUBLISHED_ORIGIN, TransformerMatcher
from patchmatch.pairs.pretrained import download_weights

PRETRAINED = ("small", "outdoor", "indoor", "indoor_new")
PUBLISHED_SIZE = (PUBLISHED_CHANNELS, PUBLISHED_LAYERS, PUBLISHED_HEADS, 1)


class LoFTRMatcher(TransformerMatcher):
    """LoFTR (Sun et al. 2021) of kornia: with its pretrained weights, or trained here.

    Args:
        pretrained: Pretrained weights: small, a small network trained here on generated pairs,
            which is part of the package; or the published ones, outdoor (MegaDepth), indoor or
            indoor_new (ScanNet), which are downloaded once. Not used with a checkpoint. With
            ``weights``, a file of kornia such as loftr_outdoor.ckpt, it must be indoor_new for
            those.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"
    title = "LoFTR"
    shipped = "loftr.ckpt"

    def __init__(self, pretrained: str = "small", **options: Any) -> None:
        super().__init__(**options)
        if pretrained not in PRETRAINED:
            raise ValueError(f"pretrained must be one of {', '.join(PRETRAINED)}, got {pretrained}")
        self.pretrained = pretrained

    def build_net(self) -> nn.Module:
        """Return the network with random weights."""
        return build_loftr(*self.size)

    def load_net(self) -> nn.Module:
        """Return kornia's LoFTR with downloaded weights, or the small one, or that of the file."""
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import urls

        if self.weights is None and self.pretrained == "small":
            return self.shipped_net()
        if self.weights is None:
            self.origin = PUBLISHED_ORIGIN
            build = partial(LoFTR, self.pretrained)
            return download_weights(self.title, build, "--model.weights", urls[self.pretrained][0])
        # Only indoor_new and the weights trained here have the corrected positional encoding.
        is_faulty = self.size == PUBLISHED_SIZE and self.pretrained != "indoor_new"
        return self.read_net(build_loftr(*self.size, fixed_encoding=not is_faulty))


class SE2LoFTRMatcher(TransformerMatcher):
    """LoFTR with a rotation-equivariant backbone (after Bökman and Kahl 2022).

    The package contains a small network, trained here on generated pairs of any rotation.

    Args:
        fields: Fields of eight rotations at 1/2, 1/4 and 1/8 of the size; ``channels`` counts only
            the channels of the features after the pooling of rotations.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_se2_loftr.yaml"
    title = "SE(2)-LoFTR"
    shipped = "se2_loftr.ckpt"

    def __init__(self, fields: tuple[int, int, int] = FIELDS, **options: Any) -> None:
        self.fields = tuple(fields)
        super().__init__(**options)

    def build_net(self) -> nn.Module:
        """Return the network with random weights."""
        return build_loftr(*self.size, self.fields)
