"""What a patch of a keypoint looks like, as a vector of length one."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 2 / 255  # standard deviation of a patch that counts as nothing but noise


class DescriptorNet(nn.Module):
    """Describes upright patches by a small net after L2-Net and HardNet.

    Tian et al. 2017, Mishchuk et al. 2017: 3x3 convolutions, each followed by batch normalisation
    without scale and shift, strides in the place of pooling, a last convolution over all that is
    left, and a vector of length one. To be fast on a CPU it halves the patch at once, and once
    more often than they do.

    Args:
        width: Channels of the first layers; twice as many where the patch is a quarter as large.
        length: Numbers in a descriptor.
        patch_size: Side of a patch in pixels, a multiple of 8.
    """

    def __init__(self, width: int = 24, length: int = 128, patch_size: int = 32) -> None:
        super().__init__()
        if width < 2 or width % 2 or length < 2 or patch_size < 8 or patch_size % 8:
            raise ValueError(
                "a descriptor needs an even width, a length of 2 or more and a patch_size that is "
                f"a multiple of 8, got {width}, {length} and {patch_size}"
            )
        self.patch_size, self.length = patch_size, length
        self.layers = nn.Sequential(
            *_layer(1, width // 2),
            *_layer(width // 2, width, stride=2),
            *_layer(width, width),
            *_layer(width, 2 * width, stride=2),
            *_layer(2 * width, 2 * width),
            *_layer(2 * width, 2 * width, stride=2),
            nn.Conv2d(2 * width, length, patch_size // 8, bias=False),
            nn.BatchNorm2d(length, affine=False),
        ).to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, patches: Float[Tensor, "N 1 P P"]) -> Float[Tensor, "N D"]:
        """Return the descriptors of patches, each of length one, whatever their contrast.

        Args:
            patches: Gray, in [0, 1].
        """
        if not len(patches):
            return patches.new_zeros(0, self.length)
        mean = patches.mean(dim=(2, 3), keepdim=True)
        spread = patches.std(dim=(2, 3), keepdim=True)
        values = self.layers((patches - mean) / (spread + FLOOR))  # (N, D, 1, 1)
        return F.normalize(values[:, :, 0, 0], dim=1)


def _layer(channels_in: int, channels: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
        nn.ReLU(),
    )
