"""Features of scenes, and their standardisation together with those of templates."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.templates.backbones import Backbone
from patchmatch.templates.qatm import LazyFeatures

_EPSILON = 1e-6  # added to standard deviations
_STRIP_BYTES = 2**28  # features of a strip, where those of the whole scene are not kept


class FeatureNormalization(NamedTuple):
    """Standardisation of features: mean and standard deviation of every channel, (D,) per kind."""

    mean: list[Tensor]
    std: list[Tensor]

    def apply(self, maps: Sequence[Tensor]) -> Tensor:
        """Return features of length 1, (N, sum of D), to which each kind contributes equally.

        Args:
            maps: Features of each kind, (N, D).
        """
        kinds = zip(maps, self.mean, self.std, strict=True)
        normalized = [F.normalize((part - mean) / std, dim=1) for part, mean, std in kinds]
        return torch.cat(normalized, dim=1) * len(normalized) ** -0.5


class FeatureMoments(NamedTuple):
    """Number of features, and mean and variance of every channel, (D,) per kind."""

    size: int
    mean: list[Tensor]
    variance: list[Tensor]

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> "FeatureMoments":
        """Return the moments of features of each kind, (N, D)."""
        both = [torch.var_mean(part, dim=0, correction=0) for part in maps]
        return cls(len(maps[0]), [mean for _, mean in both], [variance for variance, _ in both])

    def merge(self, other: "FeatureMoments") -> "FeatureMoments":
        """Return the moments of the union of two sets of features."""
        size = self.size + other.size
        share = self.size / size
        means, variances = [], []
        for m0, m1, v0, v1 in zip(
            self.mean, other.mean, self.variance, other.variance, strict=True
        ):
            mean = share * m0 + (1 - share) * m1
            variance = share * (v0 + (m0 - mean) ** 2) + (1 - share) * (v1 + (m1 - mean) ** 2)
            means.append(mean)
            variances.append(variance)
        return FeatureMoments(size, means, variances)

    def normalization(self) -> FeatureNormalization:
        """Return the standardisation to mean 0 and standard deviation 1."""
        return FeatureNormalization(self.mean, [v.sqrt() + _EPSILON for v in self.variance])


class SceneFeatures:
    """Features of a scene, before normalisation.

    They are kept if they fit into ``memory``. Otherwise they are computed in horizontal strips
    each time they are read in order.

    Attributes:
        image: The scene, (3, H, W).
        size: Height and width in pixels.
        grid: Rows and columns of cells.
        stride: Side of a cell in pixels.
        kind: Kind of the features, network or handcrafted.
        moments: Moments of all features.

    Args:
        backbone: Feature extractor.
        scene: (3, H, W) RGB in [0, 1].
        memory: Bytes of features to keep.
    """

    def __init__(self, backbone: Backbone, scene: Tensor, memory: int) -> None:
        height, width = self.size = scene.shape[-2], scene.shape[-1]
        self.stride, self.kind = backbone.stride, backbone.kind
        rows, columns = self.grid = -(-height // self.stride), -(-width // self.stride)
        self._backbone, self.image = backbone, scene
        row_bytes = columns * sum(backbone.channels) * scene.element_size()
        fits = rows * row_bytes <= memory
        self._strip_rows = rows if fits else max(1, min(memory, _STRIP_BYTES) // row_bytes)
        self._cached: tuple[int, list[Tensor]] = (-1, [])  # number of a strip, its features
        strips = (FeatureMoments.of(self._strip(i)) for i in range(-(-rows // self._strip_rows)))
        self.moments = functools.reduce(FeatureMoments.merge, strips)

    def _strip(self, number: int) -> list[Tensor]:
        """Return the features of a strip, (cells, D) of each kind; the last strip is cached."""
        if self._cached[0] != number:
            self._cached = (-1, [])  # frees the memory of the strip before
            first = number * self._strip_rows
            rows = slice(first, min(first + self._strip_rows, self.grid[0]))
            with torch.inference_mode():
                maps = self._backbone(self.image[None], rows)
            self._cached = (number, [m[0].movedim(0, -1).flatten(0, 1) for m in maps])
        return self._cached[1]

    def cells(self, cells: slice) -> list[Tensor]:
        """Return the features of consecutive cells, (cells, D) of each kind."""
        strip_cells = self._strip_rows * self.grid[1]
        found = []
        for number in range(cells.start // strip_cells, -(-cells.stop // strip_cells)):
            first = number * strip_cells
            inside = slice(max(0, cells.start - first), cells.stop - first)
            found.append([part[inside] for part in self._strip(number)])
        return found[0] if len(found) == 1 else [torch.cat(p) for p in zip(*found, strict=True)]


class NormalizedSceneFeatures(LazyFeatures):
    """Features of a scene, normalised on demand.

    Args:
        scene: Features of the scene.
        normalization: Standardisation of the features.
    """

    def __init__(self, scene: SceneFeatures, normalization: FeatureNormalization) -> None:
        self.scene, self.normalization = scene, normalization

    def __len__(self) -> int:
        return math.prod(self.scene.grid)

    def __getitem__(self, rows: slice) -> Tensor:
        with torch.inference_mode():
            return self.normalization.apply(self.scene.cells(rows))

    def window(self, left: int, top: int, right: int, bottom: int) -> Tensor:
        """Return the features of a rectangle of cells, (rows, columns, D)."""
        width = self.scene.grid[1]
        return torch.stack(
            [self[slice(row * width + left, row * width + right)] for row in range(top, bottom)]
        )


def normalize_features(
    scene: Sequence[Tensor], templates: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    """Normalise the features of a scene and of templates to length 1, each kind equally weighted.

    Mean and standard deviation are those of the scene and the first template together.

    Args:
        scene: Features of each kind, (S, D).
        templates: Features of each kind, (T, D), of one template or of its poses.
    """
    normalization = joint_normalization(FeatureMoments.of(scene), templates[0])
    return normalization.apply(scene), [normalization.apply(maps) for maps in templates]


def joint_normalization(scene: FeatureMoments, template: Sequence[Tensor]) -> FeatureNormalization:
    """Return the standardisation by a scene and the features of a template together."""
    return scene.merge(FeatureMoments.of(template)).normalization()


def suppress_box(unsuppressed: Tensor, box: Tensor, stride: int) -> None:
    """Clear the cells of a box, xyxy in pixels, in a mask of cells; at least one cell."""
    rows, columns = unsuppressed.shape
    x0, y0, x1, y1 = (box / stride).round().long().tolist()
    x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
    unsuppressed[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = False
