"""Learned features of patches: linear filters, mixed from a fixed cosine basis."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

MIN_NORM = 0.3  # softens the normalisation, so that noise in a blank patch stays small
#: Luma and two colour differences in terms of red, green and blue, each of norm one.
COLOURS = ((3**-0.5,) * 3, (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))


class PatchFeatures(nn.Module):
    """Features of every whole patch of an image.

    The filters are linear combinations of low-frequency basis functions of the cosine transform,
    of luma and of two colour differences, under a wide and a narrow Gaussian window. They are
    initialised with the lowest frequencies under the wide window, whose squared differences
    approximate those of the patches without high-frequency noise. Training changes only the
    combination, so all filters stay smooth.

    Args:
        channels: Number of features of a patch; initially half of them are luma, half colour.
        patch_size: Side P of the patch that the features of a pixel depend on.
    """

    def __init__(self, channels: int = 64, patch_size: int = 15) -> None:
        super().__init__()
        if patch_size < 3 or channels < 4:
            raise ValueError(
                "patch_size must be at least 3 and channels at least 4 for learned features, got "
                f"patch_size={patch_size}, channels={channels}"
            )
        self.patch_size = patch_size
        narrow = colour_basis(patch_size // 2, channels // 2)
        left = (patch_size - patch_size // 2) // 2
        right = patch_size - patch_size // 2 - left
        basis = [colour_basis(patch_size, channels), F.pad(narrow, (left, right, left, right))]
        self.register_buffer("basis", torch.cat(basis), persistent=False)
        self.basis: Tensor  # (N, 3, P, P)
        self.mix = nn.Parameter(torch.eye(channels, len(self.basis)))  # (D, N)

    def forward(
        self, image: Float[Tensor, "B C H W"], gain_invariant: bool = False
    ) -> Float[Tensor, "B D _ _"]:
        """Return the features on the grid of whole patches, (B, D, H - P + 1, W - P + 1).

        Args:
            image: RGB or gray, in [0, 1].
            gain_invariant: Normalise the features of each patch, so that a gain changes nothing;
                the brightness of a uniform area is lost.
        """
        filters = torch.einsum("dn,ncyx->dcyx", self.mix, self.basis)
        values = F.conv2d(image.expand(-1, 3, -1, -1), filters)
        if not gain_invariant:
            return values
        return values * (values.square().sum(dim=1, keepdim=True) + MIN_NORM**2).rsqrt()


def colour_basis(side: int, count: int) -> Float[Tensor, "N 3 P P"]:
    """Return low-frequency basis functions of luma and two colour differences, of norm one.

    Args:
        side: Side in pixels.
        count: Largest number of basis functions; half of them are luma.
    """
    colour = count // 4
    counts = (count - 2 * colour, colour, colour)
    found = [
        torch.tensor(weights)[:, None, None] * wave
        for weights, count in zip(COLOURS, counts, strict=True)
        for wave in cosine_basis(side, count)
    ]
    return torch.stack(found)


def cosine_basis(side: int, count: int) -> Float[Tensor, "N P P"]:
    """Return the lowest frequencies of a 2D cosine transform in a Gaussian window, of norm one."""
    x = (torch.arange(side) + 0.5) / side
    order = sorted((v * v + u * u, v, u) for v in range(side) for u in range(side))[:count]
    window = torch.exp(-((torch.arange(side) - (side - 1) / 2) ** 2) / (2 * (side / 3.5) ** 2))
    found = []
    for _, v, u in order:
        rows, columns = (torch.cos(math.pi * frequency * x) * window for frequency in (v, u))
        wave = rows[:, None] * columns
        found.append(wave / wave.norm())
    return torch.stack(found) if found else torch.zeros(0, side, side)
