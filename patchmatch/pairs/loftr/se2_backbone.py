"""A rotation-equivariant ResNet backbone for LoFTR."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops.rotations import (
    circular_harmonics,
    group_filters,
    lifting_filters,
    pool_rotations,
    upsample_twofold,
)

ROTATIONS = 8
FIELDS = (16, 24, 32)  # at 1/2, 1/4 and 1/8; times 8 rotations about the channels of LoFTR


class SteerableConv(nn.Module):
    """Base of convolutions with steerable filters: weights of circular harmonics, no bias.

    Args:
        shape: Shape of the weight without the harmonics; output fields first.
        size: Side of the filters in pixels.
        stride: Stride of the convolution.
        rotations: Number of rotations in a full turn.
    """

    harmonics: Tensor

    def __init__(self, shape: Sequence[int], size: int, stride: int, rotations: int) -> None:
        super().__init__()
        self.register_buffer("harmonics", circular_harmonics(size, rotations), persistent=False)
        self.weight = nn.Parameter(_he_normal(*shape, self.harmonics.shape[1]))
        self.stride = stride


class LiftingConv(SteerableConv):
    """Lifting convolution from an image to feature fields: each filter under every rotation.

    Args:
        inputs: Channels of the image.
        fields: Output fields, of ``rotations`` channels each.
        size: Side of the filters in pixels.
        stride: Stride of the convolution.
        rotations: Number of rotations in a full turn.
    """

    def __init__(
        self, inputs: int, fields: int, size: int, stride: int = 1, rotations: int = ROTATIONS
    ) -> None:
        super().__init__((fields, inputs), size, stride, rotations)

    def forward(self, image: Float[Tensor, "B I H W"]) -> Float[Tensor, "B OR h w"]:
        """Return the fields; h and w are H and W over the stride, rounded up."""
        filters = lifting_filters(self.weight, self.harmonics)
        return _antialiased_conv(image, filters, self.stride)


class GroupConv(SteerableConv):
    """Group convolution over positions and rotations, fields to fields (Cohen and Welling 2016).

    Args:
        inputs: Input fields.
        fields: Output fields.
        size: Side of the filters in pixels.
        stride: Stride of the convolution.
        rotations: Number of rotations in a full turn.
    """

    def __init__(
        self, inputs: int, fields: int, size: int, stride: int = 1, rotations: int = ROTATIONS
    ) -> None:
        super().__init__((fields, inputs, rotations), size, stride, rotations)

    def forward(self, fields: Float[Tensor, "B IR H W"]) -> Float[Tensor, "B OR h w"]:
        """Return the fields; h and w are H and W over the stride, rounded up."""
        filters = group_filters(self.weight, self.harmonics)
        return _antialiased_conv(fields, filters, self.stride)


class FieldNorm(nn.BatchNorm3d):
    """Batch normalisation of fields; the rotations of a field share statistics and weights."""

    def forward(self, input: Float[Tensor, "B CR H W"]) -> Float[Tensor, "B CR H W"]:  # noqa: A002
        """Return the normalised fields."""
        maps = input.unflatten(1, (self.num_features, -1))  # (B, C, R, H, W)
        return super().forward(maps).flatten(1, 2)


class SE2Block(nn.Module):
    """Two group convolutions with a residual connection, as in ResNet.

    Args:
        inputs: Input fields.
        fields: Output fields.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, fields: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            GroupConv(inputs, fields, 3, stride),
            FieldNorm(fields),
            nn.ReLU(inplace=True),
            GroupConv(fields, fields, 3),
            FieldNorm(fields),
        )
        self.around = nn.Sequential()
        if stride > 1 or inputs != fields:
            self.around = nn.Sequential(GroupConv(inputs, fields, 1, stride), FieldNorm(fields))

    def forward(self, fields: Float[Tensor, "B IR H W"]) -> Float[Tensor, "B OR h w"]:
        """Return the output fields."""
        return F.relu(self.body(fields) + self.around(fields))


class SE2Backbone(nn.Module):
    """ResNet with a feature pyramid over eight rotations, pooled at the end (Bökman and Kahl 2022).

    The features are rotation-invariant: a rotation of the image moves them and leaves their values.
    This is exact for quarter turns of sides of 8 k + 1 pixels, and approximate on the pixel grid
    for odd multiples of 45 degrees.

    Args:
        coarse: Channels at 1/8 of the size.
        fine: Channels at 1/2 of the size.
        fields: Fields at 1/2, 1/4 and 1/8.
    """

    def __init__(self, coarse: int = 256, fine: int = 128, fields: Sequence[int] = FIELDS) -> None:
        super().__init__()
        half, quarter, eighth = fields
        self.stem = nn.Sequential(
            LiftingConv(1, half, 7, stride=2), FieldNorm(half), nn.ReLU(inplace=True)
        )
        self.at_half = nn.Sequential(SE2Block(half, half), SE2Block(half, half))
        self.at_quarter = nn.Sequential(SE2Block(half, quarter, 2), SE2Block(quarter, quarter))
        self.at_eighth = nn.Sequential(SE2Block(quarter, eighth, 2), SE2Block(eighth, eighth))
        self.down_to_quarter, self.down_to_half = (
            GroupConv(eighth, quarter, 1),
            GroupConv(quarter, half, 1),
        )
        self.merge_quarter, self.merge_half = SE2Block(quarter, quarter), SE2Block(half, half)
        self.coarse, self.fine = GroupConv(eighth, coarse, 1), GroupConv(half, fine, 1)

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return features at 1/8 and at 1/2 of the size, like the backbone of kornia's LoFTR.

        Args:
            image: Gray, in [0, 1].

        Returns:
            (B, coarse, H / 8, W / 8) and (B, fine, H / 2, W / 2), sizes rounded up.
        """
        half = self.at_half(self.stem(image))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        quarter = self.merge_quarter(
            quarter + upsample_twofold(self.down_to_quarter(eighth), *quarter.shape[-2:])
        )
        half = self.merge_half(
            half + upsample_twofold(self.down_to_half(quarter), *half.shape[-2:])
        )
        return [pool_rotations(self.coarse(eighth), ROTATIONS),
                pool_rotations(self.fine(half), ROTATIONS)]  # fmt: skip


def _antialiased_conv(
    maps: Float[Tensor, "B I H W"], filters: Float[Tensor, "O I K K"], stride: int
) -> Float[Tensor, "B O h w"]:
    """Blur before a strided convolution, since aliasing breaks the equivariance."""
    if stride > 1:
        kernel = maps.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        channels = maps.shape[1]
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        maps = F.conv2d(padded, kernel.expand(channels, 1, 3, 3), groups=channels)
    return F.conv2d(maps, filters, stride=stride, padding=filters.shape[-1] // 2)


def _he_normal(*shape: int) -> Float[Tensor, "..."]:
    """Return random weights that preserve the variance through a ReLU (He et al. 2015)."""
    return torch.randn(*shape) * math.sqrt(2 / math.prod(shape[1:]))
