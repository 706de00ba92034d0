"""Regressors of Patch2Pix: displacements and a confidence from two local patches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops.sampling import bilinear_sample

SIDE = 9  # samples along a side of a patch
MID_SPACING, FINE_SPACING = 2.0, 1.0  # pixels between them: patches of 16 and 8 pixels
PROJECTED = 24  # channels of the projected pyramid
HIDDEN = 64
STRIDE_FINE = 2  # pixels per cell of the finest level of the pyramid


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Features of a batch of images; cell (x, y) of stride s is at pixel s (x, y).

    Attributes:
        image: (B, 1, H, W), gray with normalised contrast.
        half: (B, C1, H / 2, W / 2).
        quarter: (B, C2, H / 4, W / 4).
        eighth: (B, C3, H / 8, W / 8).
        fine: (B, C1, H / 2, W / 2), decoded from all levels, to be correlated.
        coarse: (B, C3, H / 8, W / 8), to be correlated.
    """

    image: Tensor
    half: Tensor
    quarter: Tensor
    eighth: Tensor
    fine: Tensor
    coarse: Tensor

    def __getitem__(self, index: slice) -> "Pyramid":
        """Return the features of some images of the batch."""
        names = ("image", "half", "quarter", "eighth", "fine", "coarse")
        return Pyramid(**{name: getattr(self, name)[index] for name in names})


@dataclass(frozen=True, kw_only=True)
class Maps:
    """What a regressor samples the patches of a batch of images from.

    Attributes:
        image: (B, 1, H, W), gray with normalised contrast.
        half: (B, C, H / 2, W / 2), the projected pyramid, and then ``Pyramid.fine``.
    """

    image: Tensor
    half: Tensor


@dataclass(frozen=True, kw_only=True)
class Refined:
    """Matches after a regressor.

    Attributes:
        points0: (M, 2) x and y in pixels of image 0.
        points1: (M, 2) x and y in pixels of image 1.
        logits: (M,) confidence before the sigmoid.
    """

    points0: Tensor
    points1: Tensor
    logits: Tensor


class Regressor(nn.Module):
    """Regresses the displacements of both ends of a match, and a confidence, from two patches.

    As in the paper, the patches hold the features of all levels of the pyramid, which two
    convolutions and two fully connected layers reduce to five numbers. Two changes make it train in
    minutes: a projection of each level, which keeps the channels few, and the correlations of all
    positions of both patches as further channels.

    Args:
        channels: Channels of the pyramid at 1/2, 1/4 and 1/8 of the size.
        spacing: Pixels between the samples of a patch. An end moves by at most
            ``(SIDE - 1) / 2 * spacing`` in x and in y.
    """

    def __init__(self, channels: tuple[int, int, int], spacing: float) -> None:
        super().__init__()
        self.spacing = spacing
        self.levels = nn.ModuleList(nn.Conv2d(count, PROJECTED, 1) for count in channels)
        inputs = 2 * (PROJECTED + 1) + SIDE * SIDE
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, HIDDEN, 3), nn.BatchNorm2d(HIDDEN), nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, stride=2), nn.BatchNorm2d(HIDDEN), nn.ReLU(),
        )  # fmt: skip
        cells = (((SIDE - 2) - 3) // 2 + 1) ** 2
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(HIDDEN * cells, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 5)
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # it starts from no displacement
        nn.init.zeros_(last.bias)

    @property
    def reach(self) -> float:
        """Largest displacement of an end in x and in y, in pixels."""
        return (SIDE - 1) / 2 * self.spacing

    def forward(
        self,
        maps0: Maps,
        maps1: Maps,
        pair: Int[Tensor, "M"],
        points0: Float[Tensor, "M 2"],
        points1: Float[Tensor, "M 2"],
    ) -> Refined:
        """Return the refined matches.

        Args:
            maps0: Result of ``project`` for images 0.
            maps1: Result of ``project`` for images 1.
            pair: Index of the image pair of each match.
            points0: x and y in pixels of image 0.
            points1: x and y in pixels of image 1.
        """
        levels0, correlated0 = self._patches(maps0, pair, points0)
        levels1, correlated1 = self._patches(maps1, pair, points1)
        scale = correlated0.shape[1] ** -0.5
        correlation = torch.einsum("mcp,mcq->mpq", scale * correlated0, correlated1)
        inputs = torch.cat([levels0, levels1, correlation.unflatten(2, (SIDE, SIDE))], dim=1)
        out = self.layers(self.convolutions(inputs)).float()
        moves = self.reach * torch.tanh(out[:, :4])
        return Refined(
            points0=points0 + moves[:, :2], points1=points1 + moves[:, 2:], logits=out[:, 4]
        )

    def project(self, pyramid: Pyramid) -> Maps:
        """Return what the patches are sampled from; it serves any number of matches."""
        size = pyramid.half.shape[-2:]
        projected = self.levels[0](pyramid.half)
        for level, conv in ((pyramid.quarter, self.levels[1]), (pyramid.eighth, self.levels[2])):
            projected = projected + _enlarged(conv(level), size)
        half = torch.cat([projected, pyramid.fine.to(projected)], dim=1).float()
        return Maps(image=pyramid.image.float(), half=half)

    def _patches(
        self, maps: Maps, pair: Int[Tensor, "M"], points: Float[Tensor, "M 2"]
    ) -> tuple[Tensor, Tensor]:
        """Return the patches of image and pyramid (M, C, S, S), and of ``fine`` (M, C1, S S)."""
        axis = self.spacing * (torch.arange(SIDE, device=points.device) - SIDE // 2)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([x, y], dim=-1).flatten(0, 1)  # (S S, 2)
        positions = points[:, None] + grid  # (M, S S, 2)
        sampled = _sample(maps.half, pair, positions / STRIDE_FINE)  # (M, C, S S)
        gray = _sample(maps.image, pair, positions)
        levels = torch.cat([gray, sampled[:, :PROJECTED]], dim=1).unflatten(2, (SIDE, SIDE))
        return levels, sampled[:, PROJECTED:]


def _enlarged(features: Tensor, size: torch.Size) -> Tensor:
    """Interpolate coarser features at the cells of the finest level; cells 0 are at pixel 0."""
    factor = round(size[-1] / features.shape[-1])
    larger = [factor * (count - 1) + 1 for count in features.shape[-2:]]
    features = F.interpolate(features.float(), larger, mode="bilinear", align_corners=True)
    missing = [max(0, want - have) for want, have in zip(size, larger, strict=True)]
    features = F.pad(features, (0, missing[1], 0, missing[0]), mode="replicate")
    return features[..., : size[0], : size[1]]


def _sample(
    maps: Float[Tensor, "B C H W"], pair: Int[Tensor, "M"], positions: Float[Tensor, "M P 2"]
) -> Float[Tensor, "M C P"]:
    """Sample the map of its pair at the positions of each match."""
    channels, count = maps.shape[1], positions.shape[1]
    out = maps.new_zeros(len(positions), channels, count)
    for index in range(len(maps)):
        rows = (pair == index).nonzero()[:, 0]
        points = positions[rows].flatten(0, 1)[None]
        found = bilinear_sample(maps[index : index + 1], points)[0].unflatten(1, (-1, count))
        out = out.index_copy(0, rows, found.movedim(1, 0))
    return out
