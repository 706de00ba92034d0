"""A small 3D-convolutional network that tells by which shift two frames match, block by block."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.shift.ops import SHIFTS, STILL, shift_similarity, window_moments

FLOOR = 1e-6  # variance of a quarter of a grey level in 255: less than rounding leaves
CLASSES = len(SHIFTS) + 1  # nine shifts, and larger


class ShiftNet(nn.Module):
    """Probabilities over nine one-pixel shifts and ``larger``, for every block of every pair.

    What hand-written block matching fixes by hand is learned here: how to smooth (a bank of
    filters, one 3D convolution over time, y and x that is shared by the frames), which smoothing
    to trust at the contrast and noise of a block (the gate), and what the nine similarities look
    like when none of them is the answer (the head). In between, frames are compared by normalised
    cross-correlation, so place, brightness and contrast cannot leak into the answer: a single
    frame says nothing.

    Args:
        filters: Filters in the bank, beside the frame itself.
        kernel: Side of a filter in pixels, odd.
        width: Channels of the hidden layers.
    """

    def __init__(self, filters: int = 3, kernel: int = 7, width: int = 48) -> None:
        super().__init__()
        if filters < 2 or width < 1:
            raise ValueError(
                f"filters must be at least 2 and width at least 1, got {filters} and {width}"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number of pixels, got {kernel}")
        self.kernel = kernel
        self.identity: Tensor
        bands = filters + 1
        self.bank = nn.Conv3d(1, filters, (1, kernel, kernel), bias=False)
        with torch.no_grad():
            self.bank.weight.mul_(0.1).add_(gaussians(filters, kernel)[:, None, None])
        identity = torch.zeros(1, 1, 1, kernel, kernel)
        identity[..., kernel // 2, kernel // 2] = 1
        self.register_buffer("identity", identity, persistent=False)
        # a residual per shift and band; their mean and both log-variances per band
        self.scale = nn.BatchNorm1d((len(SHIFTS) + 3) * bands, affine=False)
        self.gate = nn.Sequential(
            nn.Linear(3 * bands, width), nn.ReLU(), nn.Linear(width, 2 * bands), nn.Softplus()
        )
        self.head = nn.Sequential(
            nn.Linear((len(SHIFTS) + 3) * bands, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, CLASSES),
        )

    def describe(
        self, frames: Float[Tensor, "B 1 T H W"], block: int = 26, stride: int = 13
    ) -> "Described":
        """Return what ``compare`` needs to know of each frame, computed once a frame."""
        frames = frames - frames.mean(dim=(-2, -1), keepdim=True)  # precision, nothing else
        batch, _, time, height, width = frames.shape
        margin = self.kernel // 2
        folded = frames.reshape(batch * time, 1, height, width)
        padded = F.pad(folded, (margin,) * 4, mode="replicate")
        # the first feature is the frame itself. The kernels span one frame: the same sums as
        # conv3d gives, ten times faster on a CPU
        kernels = torch.cat([self.identity, self.bank.weight]).squeeze(2)
        features = F.conv2d(padded, kernels)  # (B * T, bands, H, W)
        features = features.unflatten(0, (batch, time)).transpose(1, 2)  # (B, bands, T, H, W)
        return Described(features, *window_moments(features, block, stride))

    def compare(
        self, described0: "Described", described1: "Described", block: int = 26, stride: int = 13
    ) -> Float[Tensor, "B 10 T rows columns"]:
        """Return the logits of ``SHIFTS`` and ``larger`` for frames and their successors."""
        correlation, residual = shift_similarity(
            described0.features,
            described0[1:],
            described1.features,
            described1[1:],
            block,
            stride,
            FLOOR,
        )
        # a row per block: (B, T, rows, columns) in front, what is known of the block behind
        correlation = correlation.permute(1, 3, 4, 5, 0, 2).contiguous()  # (..., 9, bands)
        residual = residual.permute(1, 3, 4, 5, 0, 2).contiguous()
        mean = residual.mean(dim=-2)  # (..., bands)
        relative = (residual - mean.unsqueeze(-2)).flatten(-2)  # (..., 9 * bands)
        contrast0, contrast1 = (
            (described.variance[STILL] + FLOOR).log().movedim(1, -1)  # (..., bands)
            for described in (described0, described1)
        )
        evidence = torch.cat([relative, mean, contrast0, contrast1], dim=-1)  # (..., 12 * bands)
        evidence = self.scale(evidence.flatten(0, 3)).view_as(evidence)
        trust = 4 * self.gate(evidence[..., relative.shape[-1] :])  # (..., 2 * bands)
        by_correlation, by_residual = trust.unsqueeze(-2).chunk(2, dim=-1)
        match = (by_correlation * correlation - by_residual * residual).sum(dim=-1)  # (..., 9)
        logits = self.head(evidence) + F.pad(match - match.mean(dim=-1, keepdim=True), (0, 1))
        return logits.movedim(-1, 1)

    def forward(
        self, frames: Float[Tensor, "B 1 T H W"], block: int = 26, stride: int = 13
    ) -> Float[Tensor, "B 10 T-1 rows columns"]:
        """Return the logits of ``SHIFTS`` and ``larger`` for each consecutive pair of frames.

        Args:
            frames: Gray frames in [0, 1]; time is the depth axis of the convolution. Two frames
                of one block's size are the 26x26 patch pair of training.
            block: Side of a block in pixels.
            stride: Distance from one block to the next in pixels.
        """
        described = self.describe(frames, block, stride)
        return self.compare(
            described.frames(slice(None, -1)), described.frames(slice(1, None)), block, stride
        )


class Described(NamedTuple):
    """Feature maps of frames and their statistics over the blocks' windows.

    Attributes:
        features: (B, bands, T, H, W).
        mean: (9, B, bands, T, rows, columns), over the window moved by each shift.
        variance: The same shape.
    """

    features: Tensor
    mean: Tensor
    variance: Tensor

    def frames(self, times: slice) -> "Described":
        """Return the described frames at some times."""
        return Described(
            self.features[:, :, times], self.mean[:, :, :, times], self.variance[:, :, :, times]
        )


def gaussians(count: int, side: int) -> Float[Tensor, "count side side"]:
    """Return smoothing kernels of unit norm, sigma 0.45 to 1.65 pixels: where learning starts."""
    sigma = torch.linspace(0.45, 1.65, count)[:, None, None]
    x = torch.arange(side) - side // 2
    kernels = torch.exp(-(x[:, None] ** 2 + x**2) / (2 * sigma**2))
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]
