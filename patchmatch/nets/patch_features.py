"""What a patch is compared by: a few numbers that a small network makes of it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 0.05  # length of features that counts as nothing: noise in a plain patch stays small

SLOPE = 0.1  # of the activation below zero


class PatchFeatures(nn.Module):
    """Features of every whole patch of an image, of length one where there is texture.

    The first filters have zero mean and nothing is added anywhere, so that an offset of the grey
    levels changes nothing and a gain only the length, which is then divided by.

    Args:
        channels: Features of a patch.
        hidden: Channels of the hidden layers.
        patch_size: Side P of the patch that the features of a pixel depend on, at least 3.
    """

    def __init__(self, channels: int = 16, hidden: int = 24, patch_size: int = 7) -> None:
        super().__init__()
        if patch_size < 3:
            raise ValueError(
                f"patch_size must be at least 3 for learned features, got {patch_size}"
            )
        kernels = [3] * ((patch_size - 1) // 2) + [2] * ((patch_size - 1) % 2)
        sizes = [3, *[hidden] * (len(kernels) - 1), channels]
        filters = [
            nn.Conv2d(sizes[i], sizes[i + 1], kernel, bias=False).weight
            for i, kernel in enumerate(kernels)
        ]
        self.filters = nn.ParameterList(filters)
        self.log_floor = nn.Parameter(torch.tensor(FLOOR).log())

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D _ _"]:
        """Return the features on the grid of whole patches, (B, D, H - P + 1, W - P + 1).

        Args:
            image: RGB or gray, in [0, 1].
        """
        values = image.expand(-1, 3, -1, -1)
        for number, filters in enumerate(self.filters):
            if number == 0:
                filters = filters - filters.mean(dim=(2, 3), keepdim=True)
            else:
                values = F.leaky_relu(values, SLOPE)
            values = F.conv2d(values, filters)
        length = values.square().sum(dim=1, keepdim=True) + self.log_floor.exp().square()
        return values * length.rsqrt()
