"""Features of scenes and templates, made comparable."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.templates.backbones import Backbone
from patchmatch.templates.qatm import LazyFeatures

MIN_SIDE = 4  # pixels of a template
MIN_RANGE = 2 / 255  # of the values of a template; below it the template is flat
_EPSILON = 1e-6  # added to standard deviations
_STRIP_BYTES = 2**28  # features of a strip, where those of the whole scene are not kept


class Pose(NamedTuple):
    """The similarity transform of a template before the search."""

    scale: float = 1.0  #: size in the scene divided by the size of the template
    rotation: float = 0.0  #: degrees, counter-clockwise


class TemplateFeatures(NamedTuple):
    """Features of a template in a pose."""

    size: tuple[int, int]  #: height and width of the bounding box in pixels
    extent: float  #: square root of the area in pixels
    scale: float
    rotation: float  #: degrees
    maps: list[Tensor]  #: (T, D) of each kind
    offsets: Tensor  #: (T, 2) x and y of each feature from the centre, in cells


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
        size: Height and width in pixels.
        grid: Rows and columns of cells.
        stride: Side of a cell in pixels.
        moments: Moments of all features.

    Args:
        backbone: Feature extractor.
        scene: (3, H, W) RGB in [0, 1].
        memory: Bytes of features to keep.
    """

    def __init__(self, backbone: Backbone, scene: Tensor, memory: int) -> None:
        height, width = self.size = scene.shape[-2], scene.shape[-1]
        self.stride = backbone.stride
        rows, columns = self.grid = -(-height // self.stride), -(-width // self.stride)
        self._backbone, self._scene = backbone, scene[None]
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
                maps = self._backbone(self._scene, rows)
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


def extract_template_features(
    backbone: Backbone, template: Tensor, mask: Tensor | None, pose: Pose
) -> TemplateFeatures:
    """Extract the features of a template in a pose.

    Args:
        backbone: Feature extractor of the scene.
        template: (3, h, w) RGB in [0, 1].
        mask: (h, w) bool, True for pixels of the object; None for all.
        pose: Scale and rotation of the template in the scene.
    """
    all_pixels = torch.ones_like(template[:1])
    weight = all_pixels if mask is None else mask[None].to(all_pixels)  # (1, h, w)
    height, width = _scaled_size(template, pose.scale)
    if pose.scale != 1:
        size = (height, width)
        template = F.interpolate(template[None], size, mode="bilinear", antialias=True)[0]
        template = template.clamp(0, 1)
        weight = F.interpolate(weight[None], size)[0]
    extent = math.sqrt(height * width)
    if pose.rotation:
        template = _rotate(template, pose.rotation, "border")
        weight = _rotate(weight, pose.rotation, "zeros")
        height, width = template.shape[-2:]
    maps = [features[0] for features in backbone(template[None])]  # (D, rows, columns) each
    rows, columns = maps[0].shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=template.device),
        torch.arange(columns, device=template.device),
        indexing="ij",
    )
    stride = backbone.stride
    centre = torch.tensor([width, height], device=template.device) / (2 * stride) - 0.5
    offsets = torch.stack([x, y], dim=-1).flatten(0, 1) - centre  # (rows * columns, 2)
    padding = (0, columns * stride - width, 0, rows * stride - height)
    share = F.avg_pool2d(F.pad(weight[None], padding, mode="replicate"), stride).flatten()
    used = share >= share.max() / 2
    features = [part.flatten(1).T[used] for part in maps]  # (T, D) each
    return TemplateFeatures(
        (height, width), extent, pose.scale, pose.rotation, features, offsets[used]
    )


def _scaled_size(template: Tensor, scale: float) -> tuple[int, int]:
    """Return height and width of a template at a scale."""
    return round(template.shape[-2] * scale), round(template.shape[-1] * scale)


def _rotated_size(size: tuple[int, int], rotation: float) -> tuple[int, int]:
    """Return height and width of the bounding box after a rotation by degrees."""
    height, width = size
    sine, cosine = (abs(f(math.radians(rotation))) for f in (math.sin, math.cos))
    return round(height * cosine + width * sine), round(width * cosine + height * sine)


def _rotate(image: Tensor, rotation: float, padding_mode: str) -> Tensor:
    """Rotate an image, (C, h, w), counter-clockwise by degrees, into its bounding box."""
    height, width = image.shape[-2:]
    rows, columns = _rotated_size((height, width), rotation)
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    # From positions in the box to positions in the image, both from -1 to 1 with y down.
    inverse = image.new_tensor([
        [cosine * columns / width, -sine * rows / width, 0],
        [sine * columns / height, cosine * rows / height, 0],
    ])  # fmt: skip
    grid = F.affine_grid(inverse[None], [1, 1, rows, columns], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode=padding_mode, align_corners=False)[0]


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


def unsearchable_reason(
    size: tuple[int, int], template: Tensor, mask: Tensor | None, pose: Pose
) -> str:
    """Return why a template cannot be searched in a scene of a size; "" if it can."""
    height, width = _rotated_size(_scaled_size(template, pose.scale), pose.rotation)
    if height > size[0] or width > size[1]:
        return (
            f"the template of {width}x{height} pixels is larger than the scene of "
            f"{size[1]}x{size[0]}"
        )
    if min(height, width) < MIN_SIDE:
        return f"the template of {width}x{height} pixels is smaller than {MIN_SIDE}x{MIN_SIDE}"
    if mask is not None and mask.shape != template.shape[-2:]:
        return f"its mask of {mask.shape[1]}x{mask.shape[0]} pixels must have the template's size"
    pixels = template.flatten(1) if mask is None else template[:, mask.to(template.device)]
    if not pixels.shape[1]:
        return "its mask excludes all pixels of the template"
    if (pixels.amax(dim=1) - pixels.amin(dim=1)).max() <= MIN_RANGE:
        return "the template is flat: all its pixels have nearly the same colour"
    return ""
