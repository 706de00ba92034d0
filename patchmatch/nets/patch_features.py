"""What a patch is compared by: a few numbers that learned filters make of it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 0.3  # length of features that counts as nothing: noise in a black patch stays small
LENGTH = 10.0  # of the features of a bright patch
BRIGHTNESS = 2.0  # what the brightness and the colours of a patch count beside them
#: Red, green and blue in luma and in two differences of colour, each of length one.
COLOURS = ((3**-0.5,) * 3, (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))


class PatchFeatures(nn.Module):
    """Features of every whole patch of an image: what it looks like, and a little how bright.

    Training starts from a formula: the lowest frequencies (a cosine transform) of luma and of
    differences of colour under a window. Squared differences of these are those of the patches,
    without the noise of the high frequencies. Most of them are divided by their length, so that a
    gain changes nothing; as many more, of filters of their own, are as they are, because absolute
    brightness finds plain surfaces again. What that is worth is learned.

    Args:
        channels: Features of a patch; half of them begin as luma, the others as colour. A quarter
            as many follow that tell its brightness.
        patch_size: Side P of the patch that the features of a pixel depend on.
    """

    def __init__(self, channels: int = 24, patch_size: int = 13) -> None:
        super().__init__()
        if patch_size < 3 or channels < 4:
            raise ValueError(
                "learned features need a patch_size of at least 3 and 4 channels or more, got "
                f"{patch_size} and {channels}"
            )
        self.patch_size = patch_size
        self.looks = channels
        filters = [
            wave for count in (channels, channels // 4) for wave in _filters(count, patch_size)
        ]
        self.filters = nn.Parameter(torch.stack(filters))  # (D, 3, P, P)
        self.log_brightness = nn.Parameter(torch.tensor(BRIGHTNESS / patch_size).log())
        self.log_floor = nn.Parameter(torch.tensor(FLOOR).log())
        self.log_length = nn.Parameter(torch.tensor(LENGTH).log())

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D _ _"]:
        """Return the features on the grid of whole patches, (B, D, H - P + 1, W - P + 1).

        D is five quarters of ``channels``.

        Args:
            image: RGB or gray, in [0, 1].
        """
        values = F.conv2d(image.expand(-1, 3, -1, -1), self.filters)
        looks, bright = values[:, : self.looks], values[:, self.looks :]
        length = looks.square().sum(dim=1, keepdim=True) + self.log_floor.exp().square()
        looks = looks * length.rsqrt() * self.log_length.exp()
        return torch.cat([looks, bright * self.log_brightness.exp()], dim=1)


def _filters(channels: int, side: int) -> list[Float[Tensor, "3 P P"]]:
    """Return the lowest waves of luma and of two differences of colour."""
    colour = channels // 4
    counts = (channels - 2 * colour, colour, colour)
    return [
        torch.tensor(mix)[:, None, None] * wave
        for mix, count in zip(COLOURS, counts, strict=True)
        for wave in waves(side, count)
    ]


def waves(side: int, count: int) -> Float[Tensor, "N P P"]:
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
