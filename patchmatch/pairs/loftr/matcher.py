"""LoFTR and SE(2)-LoFTR: detector-free matching with a transformer, coarse to fine."""

from functools import partial
from typing import Any

from torch import nn

from patchmatch.core.errors import InputError
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
SHIPPED = "loftr.ckpt"  # in ``patchmatch/weights``
PUBLISHED_SIZE = (PUBLISHED_CHANNELS, PUBLISHED_LAYERS, PUBLISHED_HEADS, 1)


class LoFTRMatcher(TransformerMatcher):
    """LoFTR (Sun et al. 2021) of kornia: with its pretrained weights, or trained here.

    Args:
        pretrained: Pretrained weights: small, a small network trained here on generated pairs,
            which is part of the package; or the published ones, outdoor (MegaDepth), indoor or
            indoor_new (ScanNet), which are downloaded once. Not used with a checkpoint.
        weights: Weight file, for machines without network access (for example kornia's
            loftr_outdoor.ckpt); ``pretrained`` must be indoor_new for those weights. ``fit`` starts
            from it; there it may also be a checkpoint.
        channels: Channels at 1/2, 1/4 and 1/8 of the size; the default is the published size.
        layers: Pairs of a self- and a cross-attention layer of the coarse transformer.
        heads: Attention heads.
        fine_layers: Pairs of layers of the fine transformer; 0 correlates the features of the
            backbone.
        normalize: Normalise the local contrast of the images first; the published weights were
            trained without.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"
    title = "LoFTR"

    def __init__(
        self,
        pretrained: str = "small",
        weights: str | None = None,
        channels: tuple[int, int, int] = PUBLISHED_CHANNELS,
        layers: int = PUBLISHED_LAYERS,
        heads: int = PUBLISHED_HEADS,
        fine_layers: int = 1,
        normalize: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        **options: Any,
    ) -> None:
        super().__init__(
            weights=weights,
            channels=channels,
            layers=layers,
            heads=heads,
            fine_layers=fine_layers,
            normalize=normalize,
            lr=lr,
            weight_decay=weight_decay,
            **options,
        )
        if pretrained not in PRETRAINED:
            raise ValueError(f"pretrained must be one of {', '.join(PRETRAINED)}, got {pretrained}")
        self.pretrained = pretrained

    def load_net(self) -> nn.Module:
        """Return kornia's LoFTR with downloaded weights or those of the file."""
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import urls

        if self.weights is None and self.pretrained == "small":
            return self.shipped_net(SHIPPED)
        if self.weights is None:
            self.origin = PUBLISHED_ORIGIN
            build = partial(LoFTR, self.pretrained)
            return download_weights(self.title, build, "--model.weights", urls[self.pretrained][0])
        # Only indoor_new and the weights trained here have the corrected positional encoding.
        is_faulty = self.size == PUBLISHED_SIZE and self.pretrained != "indoor_new"
        return self.read_net(build_loftr(*self.size, fixed_encoding=not is_faulty))


class SE2LoFTRMatcher(TransformerMatcher):
    """LoFTR with a rotation-equivariant backbone (after Bökman and Kahl 2022).

    Pretrained weights are not available; matching requires a checkpoint or a weight file of your
    own.

    Args:
        weights: Weight file: the state_dict of ``patchmatch.pairs.loftr.se2.se2_loftr()``, saved
            with torch.save. ``fit`` starts from it; there it may also be a checkpoint.
        fields: Fields of eight rotations at 1/2, 1/4 and 1/8 of the size; ``channels`` counts only
            the channels of the features after the pooling of rotations.
        channels: Channels at 1/2, 1/4 and 1/8 of the size.
        layers: Pairs of a self- and a cross-attention layer of the coarse transformer.
        heads: Attention heads.
        fine_layers: Pairs of layers of the fine transformer; 0 correlates the features of the
            backbone.
        normalize: Normalise the local contrast of the images first; the published weights were
            trained without.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_se2_loftr.yaml"
    title = "SE(2)-LoFTR"

    def __init__(
        self,
        weights: str | None = None,
        fields: tuple[int, int, int] = FIELDS,
        channels: tuple[int, int, int] = PUBLISHED_CHANNELS,
        layers: int = PUBLISHED_LAYERS,
        heads: int = PUBLISHED_HEADS,
        fine_layers: int = 1,
        normalize: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        **options: Any,
    ) -> None:
        self.fields = tuple(fields)
        super().__init__(
            weights=weights,
            channels=channels,
            layers=layers,
            heads=heads,
            fine_layers=fine_layers,
            normalize=normalize,
            lr=lr,
            weight_decay=weight_decay,
            **options,
        )

    def build_net(self) -> nn.Module:
        """Return the network with random weights."""
        return build_loftr(*self.size, self.fields)

    def load_net(self) -> nn.Module:
        """Return SE(2)-LoFTR with the weights of the file."""
        if self.weights is None:
            raise InputError(
                "SE(2)-LoFTR: pretrained weights are not available for download; train it "
                "(patchmatch fit -c se2_loftr) and give the checkpoint as --ckpt_path, or give a "
                "state_dict as --model.weights"
            )
        return self.read_net(self.build_net())
