"""Correlation network: filter bank, correlation under nine shifts, classifier."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.shift.net import (
    CLASSES,
    VARIANCE_EPS,
    BlockScores,
    FrameFeatures,
    ShiftNet,
    filter_frames,
    gaussian_kernels,
    make_gate,
    make_head,
    require_sizes,
    standardise,
)
from patchmatch.shift.ops import SHIFTS, STILL, shift_similarity, window_moments


class CorrelationNet(ShiftNet):
    """Normalised cross-correlation of learned features under the nine shifts.

    A learned filter bank smooths the frames: one 3D convolution over time, y and x, whose kernels
    span one frame. Each block is compared under the nine shifts by normalised cross-correlation,
    filter by filter. A gate weights the filters by the contrast and the residual of the block. A
    head corrects the weighted correlations and scores ``larger``. The logits depend on the frames
    only through correlations and variances, so a single frame does not reveal the shift.

    Args:
        filters: Filters in the bank, in addition to the identity.
        kernel: Side of a filter in pixels, odd.
        width: Channels of the hidden layers.
    """

    def __init__(self, filters: int = 3, kernel: int = 7, width: int = 48) -> None:
        super().__init__()
        require_sizes(filters, kernel, width)
        self.identity: Tensor
        channels = filters + 1
        self.bank = nn.Conv3d(1, filters, (1, kernel, kernel), bias=False)
        with torch.no_grad():
            self.bank.weight.mul_(0.1).add_(gaussian_kernels(filters, kernel)[:, None, None])
        identity = torch.zeros(1, 1, 1, kernel, kernel)
        identity[..., kernel // 2, kernel // 2] = 1
        self.register_buffer("identity", identity, persistent=False)
        # per channel: nine residuals, their mean, and the log-variances of both frames
        self.scale = nn.BatchNorm1d((len(SHIFTS) + 3) * channels, affine=False)
        self.gate = make_gate(channels, width)
        self.head = make_head(channels, width, CLASSES)

    def extract_features(
        self,
        frames: Float[Tensor, "B 1 T H W"],
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> FrameFeatures:
        """Return the features and window statistics of each frame, the input of ``match``."""
        kernels = torch.cat([self.identity, self.bank.weight]).squeeze(2)  # 0 is the frame itself
        features = filter_frames(frames, kernels)
        return FrameFeatures(features, *window_moments(features, block, stride, edges))

    def match(
        self,
        frames0: FrameFeatures,
        frames1: FrameFeatures,
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> BlockScores:
        """Compare ``frames0`` with ``frames1``, block by block."""
        correlation, log_residual, residual, total = shift_similarity(
            frames0.features,
            (frames0.mean, frames0.variance),
            frames1.features,
            (frames1.mean, frames1.variance),
            block,
            stride,
            VARIANCE_EPS,
            edges,
        )
        # to (B, T, rows, columns, 9, C)
        correlation = correlation.permute(1, 3, 4, 5, 0, 2).contiguous()
        log_residual = log_residual.permute(1, 3, 4, 5, 0, 2).contiguous()
        mean = log_residual.mean(dim=-2)  # (..., C)
        relative = (log_residual - mean.unsqueeze(-2)).flatten(-2)  # (..., 9 * C)
        log_variance0, log_variance1 = (
            (frames.variance[STILL] + VARIANCE_EPS).log().movedim(1, -1)  # (..., C)
            for frames in (frames0, frames1)
        )
        statistics = torch.cat([relative, mean, log_variance0, log_variance1], dim=-1)
        statistics = standardise(self.scale, statistics)  # (..., 12 * C)
        weights = 4 * self.gate(statistics[..., relative.shape[-1] :]).float()  # (..., 2 * C)
        of_correlation, of_residual = weights.unsqueeze(-2).chunk(2, dim=-1)
        score = (of_correlation * correlation - of_residual * log_residual).sum(dim=-1)  # (..., 9)
        score = F.pad(score - score.mean(dim=-1, keepdim=True), (0, 1))  # (..., 10)
        return BlockScores((self.head(statistics).float() + score).movedim(-1, 1), residual, total)
