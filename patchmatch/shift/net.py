"""Base of the networks of the shift matcher: what goes in, what comes out."""

import abc
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.shift.ops import SHIFTS

VARIANCE_EPS = 1e-6  # (1/4 gray level of 255)^2: below the variance of rounding to uint8
CLASSES = len(SHIFTS) + 1  # nine shifts and ``larger``


class FrameFeatures(NamedTuple):
    """Feature maps of frames, with mean and variance in nine windows of each block."""

    features: Float[Tensor, "B C T H W"]
    mean: Float[Tensor, "9 B C T rows columns"]
    variance: Float[Tensor, "9 B C T rows columns"]

    def at(self, times: slice | Tensor) -> "FrameFeatures":
        """Return the features of some of the frames."""
        return FrameFeatures(
            self.features[:, :, times], self.mean[:, :, :, times], self.variance[:, :, :, times]
        )


class BlockScores(NamedTuple):
    """What a network says about every block of a frame pair.

    Attributes:
        logits: Of ``SHIFTS`` and ``larger``.
        residual: Variance of the difference of the two frames under each shift, per feature map.
        total: Sum of the variances of the two frames under each shift.
    """

    logits: Float[Tensor, "B 10 T rows columns"]
    residual: Float[Tensor, "9 B C T rows columns"]
    total: Float[Tensor, "9 B C T rows columns"]

    def at(self, time: int) -> "BlockScores":
        """Return the scores of one pair, without the time axis."""
        return BlockScores(
            self.logits[:, :, time], self.residual[:, :, :, time], self.total[:, :, :, time]
        )


class ShiftNet(nn.Module, abc.ABC):
    """Logits of the nine one-pixel shifts and of ``larger``, for every block of every frame pair.

    Fully convolutional: the same weights apply to one patch pair and to every block of a frame.
    """

    @abc.abstractmethod
    def extract_features(
        self,
        frames: Float[Tensor, "B 1 T H W"],
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> FrameFeatures:
        """Return the features and window statistics of each frame, the input of ``match``.

        Args:
            frames: Gray frames in [0, 1].
            block: Side of a block in pixels.
            stride: Distance from one block to the next in pixels.
            edges: Whether the blocks cover the whole frame, see ``ops.blocks.block_starts``.
        """

    @abc.abstractmethod
    def match(
        self,
        frames0: FrameFeatures,
        frames1: FrameFeatures,
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> BlockScores:
        """Compare ``frames0`` with ``frames1``, block by block, with the arguments of both."""

    def forward(
        self, frames: Float[Tensor, "B 1 T H W"], block: int = 26, stride: int = 13
    ) -> Float[Tensor, "B 10 T-1 rows columns"]:
        """Return the logits of ``SHIFTS`` and ``larger`` for each consecutive pair of frames.

        Args:
            frames: Gray frames in [0, 1]; time is the depth axis. Two frames of the size of one
                block are a patch pair, as in training.
            block: Side of a block in pixels.
            stride: Distance from one block to the next in pixels.
        """
        features = self.extract_features(frames, block, stride)
        first, second = features.at(slice(None, -1)), features.at(slice(1, None))
        return self.match(first, second, block, stride).logits


def filter_frames(
    frames: Float[Tensor, "B 1 T H W"], kernels: Float[Tensor, "C 1 K K"]
) -> Float[Tensor, "B C T H W"]:
    """Filter every frame with every kernel, in float32 from there on.

    The kernels span one frame, so that conv2d gives the sums of conv3d, ten times faster on a CPU.
    """
    frames = frames - frames.mean(dim=(-2, -1), keepdim=True)  # for numerical precision only
    batch, _, time, height, width = frames.shape
    folded = frames.reshape(batch * time, 1, height, width)
    padded = F.pad(folded, (kernels.shape[-1] // 2,) * 4, mode="replicate")
    maps = F.conv2d(padded, kernels)  # (B * T, C, H, W)
    # variances of small differences need float32, whatever the precision of the weights
    return maps.float().unflatten(0, (batch, time)).transpose(1, 2)


def make_gate(maps: int, width: int) -> nn.Sequential:
    """Return layers from three statistics per feature map to its two positive weights."""
    return nn.Sequential(
        nn.Linear(3 * maps, width), nn.ReLU(), nn.Linear(width, 2 * maps), nn.Softplus()
    )


def make_head(maps: int, width: int, outputs: int) -> nn.Sequential:
    """Return layers from the residuals and three statistics per feature map to logits."""
    return nn.Sequential(
        nn.Linear((len(SHIFTS) + 3) * maps, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


def standardise(
    layer: nn.BatchNorm1d, statistics: Float[Tensor, "*batch C"]
) -> Float[Tensor, "*batch C"]:
    """Standardise statistics by those of the training, in the precision of the weights."""
    assert layer.running_mean is not None
    flat = statistics.flatten(0, -2).to(layer.running_mean.dtype)
    return layer(flat).view_as(statistics)


def require_sizes(filters: int, kernel: int, width: int) -> None:
    """Raise ValueError unless a network can be built from these sizes."""
    if filters < 2 or width < 1:
        raise ValueError(
            f"filters must be at least 2 and width at least 1, got {filters} and {width}"
        )
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be an odd number of pixels, got {kernel}")


def gaussian_kernels(
    count: int, side: int, sigma: tuple[float, float] = (0.45, 1.65)
) -> Float[Tensor, "count side side"]:
    """Return Gaussian kernels of unit norm, with sigma in pixels from the first to the last."""
    sigmas = torch.linspace(*sigma, count)[:, None, None]
    x = torch.arange(side) - side // 2
    kernels = torch.exp(-(x[:, None] ** 2 + x**2) / (2 * sigmas**2))
    kernels[kernels < 1e-6] = 0  # a CPU is ten times slower with denormal numbers
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]
