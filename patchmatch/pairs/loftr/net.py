"""LoFTR of any size from the blocks of kornia, and its outputs for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from patchmatch.pairs.loftr.se2_backbone import SE2Backbone

PUBLISHED_CHANNELS = (128, 196, 256)  # at 1/2, 1/4 and 1/8
PUBLISHED_LAYERS = 4  # pairs of a self- and a cross-attention layer
PUBLISHED_HEADS = 8
STRIDE = 8  # pixels per coarse cell
MAX_OFFSET = 96  # cells: of the positional encoding in training


@dataclass(frozen=True, kw_only=True)
class FineMatches:
    """Fine matches of given coarse matches; positions in windows whose border is at -1 and 1.

    Attributes:
        expected: (M, 2), expectation of the heatmap, x and y.
        variance: (M,), total variance of the heatmap.
        radius: Half of the side of the window in pixels of image 1.
    """

    expected: Tensor
    variance: Tensor
    radius: float


def build_loftr(
    channels: Sequence[int] = PUBLISHED_CHANNELS,
    layers: int = PUBLISHED_LAYERS,
    heads: int = PUBLISHED_HEADS,
    fine_layers: int = 1,
    fields: Sequence[int] | None = None,
    fixed_encoding: bool = True,
) -> nn.Module:
    """Return kornia's LoFTR with random weights; the defaults are the published size.

    Args:
        channels: Channels of the backbone at 1/2, 1/4 and 1/8 of the size; the first and the last
            are those of the fine and the coarse features.
        layers: Pairs of a self- and a cross-attention layer of the coarse transformer.
        heads: Attention heads.
        fine_layers: Pairs of a self- and a cross-attention layer of the fine transformer. With 0
            the windows of the backbone's features are correlated as they are.
        fields: Fields of a rotation-equivariant backbone at 1/2, 1/4 and 1/8, in place of the
            ResNet (SE(2)-LoFTR); None for LoFTR.
        fixed_encoding: The corrected positional encoding; LoFTR's first published weights were
            trained with a faulty one.
    """
    from kornia.feature import LoFTR
    from kornia.feature.loftr.loftr import default_cfg

    half, _, eighth = channels
    if eighth % 4:
        raise ValueError(f"channels at 1/8 must be a multiple of 4, got {eighth}")
    for count in (half, eighth):
        if count % heads:
            raise ValueError(f"channels {count} must be a multiple of the {heads} heads")
    coarse = {
        "d_model": eighth,
        "d_ffn": eighth,
        "nhead": heads,
        "temp_bug_fix": fixed_encoding,
        "layer_names": ["self", "cross"] * layers,
    }
    fine = {
        "d_model": half,
        "d_ffn": half,
        "nhead": heads,
        "layer_names": ["self", "cross"] * fine_layers,
    }
    config: dict[str, Any] = {
        **default_cfg,
        "resnetfpn": {"initial_dim": half, "block_dims": list(channels)},
        "coarse": {**default_cfg["coarse"], **coarse},
        "fine": {**default_cfg["fine"], **fine},
        "fine_concat_coarse_feat": fine_layers > 0,
    }
    net = LoFTR(None, config)
    if fields is not None:
        net.add_module("backbone", SE2Backbone(eighth, half, fields))
    net.backbone.to(memory_format=torch.channels_last)  # faster on a CPU
    return net


class LoFTRStages:
    """The stages of kornia's LoFTR for training, where the true matches select the windows.

    Args:
        net: kornia's LoFTR.
        images: (2 B, 1, H, W), images 0 and then images 1.
        shift_encoding: Shift the positional encoding of either image at random. Training images
            are small; so all positions of larger images occur in training.
    """

    def __init__(self, net: nn.Module, images: Tensor, shift_encoding: bool) -> None:
        self.net: Any = net
        coarse, fine = self.net.backbone(images)
        self.fine = fine.chunk(2)
        coarse0, coarse1 = (self._encode(part, shift_encoding) for part in coarse.chunk(2))
        self.coarse: tuple[Tensor, Tensor] = self.net.loftr_coarse(coarse0, coarse1)  # (B, N, C)

    def _encode(self, coarse: Tensor, shift: bool) -> Float[Tensor, "B N C"]:
        height, width = coarse.shape[-2:]
        y, x = torch.randint(MAX_OFFSET, (2,)).tolist() if shift else (0, 0)
        encoding = self.net.pos_encoding.pe[:, :, y : y + height, x : x + width]
        return (coarse + encoding).flatten(2).mT.contiguous()

    def scores(self) -> Float[Tensor, "B N N"]:
        """Return the similarities of all cells over the temperature, in float32."""
        coarse0, coarse1 = self.coarse
        with torch.autocast(coarse0.device.type, enabled=False):
            scale = coarse0.shape[2] * self.net.coarse_matching.temperature
            return coarse0.float() @ coarse1.float().mT / scale

    def refine(
        self, pairs: Int[Tensor, "M"], cells0: Int[Tensor, "M"], cells1: Int[Tensor, "M"]
    ) -> FineMatches:
        """Return the fine matches of coarse matches.

        Args:
            pairs: Index of the image pair of each match.
            cells0: Index of the cell of image 0.
            cells1: Index of the cell of image 1.
        """
        stride_coarse, stride_fine = self.net.config["resolution"]
        data = {"stride_c": stride_coarse, "stride_f": stride_fine,
                "b_ids": pairs, "i_ids": cells0, "j_ids": cells1}  # fmt: skip
        windows = self.net.fine_preprocess(*self.fine, *self.coarse, data)
        windows0, windows1 = self.net.loftr_fine(*windows)  # (M, W W, C)
        with torch.autocast(windows0.device.type, enabled=False):
            side = self.net.config["fine_window_size"]
            centre = windows0[:, side * side // 2].float()
            scores = torch.einsum("mc,mrc->mr", centre, windows1.float())
            heatmap = (scores / centre.shape[1] ** 0.5).softmax(dim=1)  # (M, W W)
            axis = torch.linspace(-1, 1, side, device=heatmap.device)
            y, x = torch.meshgrid(axis, axis, indexing="ij")
            grid = torch.stack([x, y], dim=-1).flatten(0, 1)  # (W W, 2)
            expected = heatmap @ grid
            variance = (heatmap @ grid.square() - expected.square()).sum(dim=1)
        return FineMatches(
            expected=expected, variance=variance, radius=float(side // 2 * stride_fine)
        )
