"""A backbone whose features turn with the image, in the place of LoFTR's."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops.rotations import (
    circular_harmonics,
    doubled,
    group_filters,
    lifting_filters,
    pool_rotations,
)

ROTATIONS = 8
FIELDS = (16, 24, 32)  # at 1/2, 1/4 and 1/8; times eight about the channels of LoFTR


class LiftingConv(nn.Module):
    """From an image to fields: the same filters under every rotation.

    Args:
        inputs: Channels of the image.
        fields: Fields to make, of ``rotations`` maps each.
        size: Side of the filters.
        stride: Pixels from one place to the next.
        rotations: How many a full turn has.
    """

    harmonics: Tensor

    def __init__(
        self, inputs: int, fields: int, size: int, stride: int = 1, rotations: int = ROTATIONS
    ) -> None:
        super().__init__()
        self.register_buffer("harmonics", circular_harmonics(size, rotations), persistent=False)
        self.weight = nn.Parameter(_spread(fields, inputs, self.harmonics.shape[1]))
        self.stride = stride

    def forward(self, image: Float[Tensor, "B I H W"]) -> Float[Tensor, "B OR h w"]:
        """Return the fields; h and w are H and W over the stride, rounded up."""
        filters = lifting_filters(self.weight, self.harmonics)
        return _strided(image, filters, self.stride)


class GroupConv(nn.Module):
    """From fields to fields, over places and rotations at once (Cohen and Welling 2016).

    Args:
        inputs: Fields that come in.
        fields: Fields to make.
        size: Side of the filters.
        stride: Places from one to the next.
        rotations: How many a full turn has.
    """

    harmonics: Tensor

    def __init__(
        self, inputs: int, fields: int, size: int, stride: int = 1, rotations: int = ROTATIONS
    ) -> None:
        super().__init__()
        self.register_buffer("harmonics", circular_harmonics(size, rotations), persistent=False)
        self.weight = nn.Parameter(_spread(fields, inputs, rotations, self.harmonics.shape[1]))
        self.stride = stride

    def forward(self, fields: Float[Tensor, "B IR H W"]) -> Float[Tensor, "B OR h w"]:
        """Return the fields; h and w are H and W over the stride, rounded up."""
        filters = group_filters(self.weight, self.harmonics)
        return _strided(fields, filters, self.stride)


class FieldNorm(nn.BatchNorm3d):
    """Batch normalisation of fields: all rotations of one share mean, spread and weights."""

    def forward(self, input: Float[Tensor, "B CR H W"]) -> Float[Tensor, "B CR H W"]:  # noqa: A002
        """Return the fields, normalised."""
        maps = input.unflatten(1, (self.num_features, -1))  # (B, C, R, H, W)
        return super().forward(maps).flatten(1, 2)


class SE2Block(nn.Module):
    """Two group convolutions and a way around them, as in ResNet.

    Args:
        inputs: Fields that come in.
        fields: Fields that go out.
        stride: Places from one to the next.
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
        """Return the fields of the block."""
        return F.relu(self.body(fields) + self.around(fields))


class SE2Backbone(nn.Module):
    """ResNet with a feature pyramid over eight rotations, pooled over them (Bökman and Kahl 2022).

    Its features are those of a place and not of its orientation: as the image turns, they stay as
    they are and move with it, exactly for quarter turns of sides of 8 k + 1 pixels, and up to what
    the pixel grid costs for odd multiples of 45 degrees.

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
        """Return features at 1/8 and at 1/2 of the size, as the backbone of kornia's LoFTR does.

        Args:
            image: Gray, in [0, 1].

        Returns:
            (B, coarse, H / 8, W / 8) and (B, fine, H / 2, W / 2), sizes rounded up.
        """
        half = self.at_half(self.stem(image))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        quarter = self.merge_quarter(
            quarter + doubled(self.down_to_quarter(eighth), *quarter.shape[-2:])
        )
        half = self.merge_half(half + doubled(self.down_to_half(quarter), *half.shape[-2:]))
        return [pool_rotations(self.coarse(eighth), ROTATIONS),
                pool_rotations(self.fine(half), ROTATIONS)]  # fmt: skip


def _strided(
    maps: Float[Tensor, "B I H W"], filters: Float[Tensor, "O I K K"], stride: int
) -> Float[Tensor, "B O h w"]:
    """Convolve at every ``stride``-th place, smoothed first: what aliases does not turn."""
    if stride > 1:
        kernel = maps.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        channels = maps.shape[1]
        around = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        maps = F.conv2d(around, kernel.expand(channels, 1, 3, 3), groups=channels)
    return F.conv2d(maps, filters, stride=stride, padding=filters.shape[-1] // 2)


def _spread(*shape: int) -> Float[Tensor, "..."]:
    """Return random weights that keep the spread of what passes a ReLU (He et al. 2015)."""
    return torch.randn(*shape) * math.sqrt(2 / math.prod(shape[1:]))
