"""What a patch is compared by: a few numbers that learned filters make of it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 0.3  # length of features that counts as nothing: noise in a black patch stays small
#: Red, green and blue in luma and in two differences of colour, each of length one.
COLOURS = ((3**-0.5,) * 3, (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))


class PatchFeatures(nn.Module):
    """Features of every whole patch of an image.

    What can be told of a patch are waves of a cosine transform, of luma and of differences of
    colour, under a wide and a narrow window. Training starts from the lowest ones under the wide
    window: their squared differences are those of the patches, without the noise of the high
    frequencies. It learns how to mix them, so that no filter can become rough.

    Args:
        channels: Features of a patch; half of them begin as luma, the others as colour.
        patch_size: Side P of the patch that the features of a pixel depend on.
    """

    def __init__(self, channels: int = 64, patch_size: int = 15) -> None:
        super().__init__()
        if patch_size < 3 or channels < 4:
            raise ValueError(
                "learned features need a patch_size of at least 3 and 4 channels or more, got "
                f"{patch_size} and {channels}"
            )
        self.patch_size = patch_size
        narrow = colour_waves(patch_size // 2, channels // 2)
        left = (patch_size - patch_size // 2) // 2
        right = patch_size - patch_size // 2 - left
        waves = [colour_waves(patch_size, channels), F.pad(narrow, (left, right, left, right))]
        self.register_buffer("waves", torch.cat(waves), persistent=False)
        self.waves: Tensor  # (W, 3, P, P)
        self.mix = nn.Parameter(torch.eye(channels, len(self.waves)))  # (D, W)

    def forward(
        self, image: Float[Tensor, "B C H W"], any_light: bool = False
    ) -> Float[Tensor, "B D _ _"]:
        """Return the features on the grid of whole patches, (B, D, H - P + 1, W - P + 1).

        Args:
            image: RGB or gray, in [0, 1].
            any_light: Give all patches features of length one, so that a gain changes nothing; how
                bright a plain surface is they do not tell then.
        """
        filters = torch.einsum("dw,wcyx->dcyx", self.mix, self.waves)
        values = F.conv2d(image.expand(-1, 3, -1, -1), filters)
        if not any_light:
            return values
        return values * (values.square().sum(dim=1, keepdim=True) + FLOOR**2).rsqrt()


def colour_waves(side: int, count: int) -> Float[Tensor, "N 3 P P"]:
    """Return the lowest waves of luma and of two differences of colour, of length one.

    Args:
        side: Of the waves, in pixels.
        count: How many at most; half of them are luma.
    """
    colour = count // 4
    counts = (count - 2 * colour, colour, colour)
    found = [
        torch.tensor(mix)[:, None, None] * wave
        for mix, count in zip(COLOURS, counts, strict=True)
        for wave in cosine_waves(side, count)
    ]
    return torch.stack(found)


def cosine_waves(side: int, count: int) -> Float[Tensor, "N P P"]:
    """Return the lowest waves of a cosine transform under a Gaussian window, of length one."""
    x = (torch.arange(side) + 0.5) / side
    order = sorted((v * v + u * u, v, u) for v in range(side) for u in range(side))[:count]
    window = torch.exp(-((torch.arange(side) - (side - 1) / 2) ** 2) / (2 * (side / 3.5) ** 2))
    found = []
    for _, v, u in order:
        rows, columns = (torch.cos(math.pi * k * x) * window for k in (v, u))
        wave = rows[:, None] * columns
        found.append(wave / wave.norm())
    return torch.stack(found) if found else torch.zeros(0, side, side)
