"""Scenes and templates as they are compared with each other."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.templates.backbones import Backbone
from patchmatch.templates.qatm import FeatureRows

SMALLEST = 4  # pixels of a template
PLAIN = 2 / 255  # a template whose pixels differ by no more shows nothing
_NO_WEIGHT = 1e-6
_STRIP = 2**28  # bytes of features that are described at once, where not all are kept


class Pose(NamedTuple):
    """How a template is changed before it is sought."""

    scale: float = 1.0  #: its size in the scene over its own
    rotation: float = 0.0  #: degrees, counter-clockwise as one sees it


class DescribedTemplate(NamedTuple):
    """A template, described in one of its poses."""

    size: tuple[int, int]  #: height and width of the box around it in pixels
    extent: float  #: root of its area in pixels
    rotation: float  #: degrees
    maps: list[Tensor]  #: (T, D) of each kind
    offsets: Tensor  #: (T, 2) x and y of each feature from the centre, in cells


class Evening(NamedTuple):
    """What makes features of all kinds comparable: mean and deviation of every channel, (D,)."""

    mean: list[Tensor]
    deviation: list[Tensor]

    def unite(self, maps: Sequence[Tensor]) -> Tensor:
        """Return features of length 1, to which each kind contributes as much as another.

        Args:
            maps: Features of each kind, (N, D).
        """
        kinds = zip(maps, self.mean, self.deviation, strict=True)
        even = [F.normalize((part - mean) / deviation, dim=1) for part, mean, deviation in kinds]
        return torch.cat(even, dim=1) * len(even) ** -0.5


class Moments(NamedTuple):
    """Mean and variance of every channel over some features, of each kind (D,)."""

    number: int
    mean: list[Tensor]
    variance: list[Tensor]

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> "Moments":
        """Return those of features of each kind, (N, D)."""
        both = [torch.var_mean(part, dim=0, correction=0) for part in maps]
        return cls(len(maps[0]), [mean for _, mean in both], [variance for variance, _ in both])

    def join(self, other: "Moments") -> "Moments":
        """Return those of both sets of features together."""
        number = self.number + other.number
        share = self.number / number
        mean, variance = [], []
        for m0, m1, v0, v1 in zip(
            self.mean, other.mean, self.variance, other.variance, strict=True
        ):
            middle = share * m0 + (1 - share) * m1
            spread = share * (v0 + (m0 - middle) ** 2) + (1 - share) * (v1 + (m1 - middle) ** 2)
            mean.append(middle)
            variance.append(spread)
        return Moments(number, mean, variance)

    def evening(self) -> Evening:
        """Return what gives every channel mean 0 and deviation 1."""
        return Evening(self.mean, [variance.sqrt() + _NO_WEIGHT for variance in self.variance])


class DescribedScene:
    """A scene as templates are compared with it.

    Its features are kept if they are not too many. Else they are described strip by strip
    whenever they are asked for, row after row.

    Attributes:
        size: Height and width in pixels.
        grid: Rows and columns of cells.
        stride: Side of a cell in pixels.

    Args:
        backbone: What describes it.
        scene: (3, H, W) RGB in [0, 1].
        memory: Bytes of features to keep.
    """

    def __init__(self, backbone: Backbone, scene: Tensor, memory: int) -> None:
        height, width = self.size = scene.shape[-2], scene.shape[-1]
        self.stride = backbone.stride
        rows, columns = self.grid = -(-height // self.stride), -(-width // self.stride)
        self._backbone, self._scene = backbone, scene[None]
        of_row = columns * sum(backbone.channels) * scene.element_size()
        self._rows = rows if rows * of_row <= memory else max(1, min(memory, _STRIP) // of_row)
        self._held: tuple[int, list[Tensor]] = (-1, [])
        strips = (Moments.of(self._strip(i)) for i in range(-(-rows // self._rows)))
        self.moments = functools.reduce(Moments.join, strips)

    def _strip(self, number: int) -> list[Tensor]:
        """Return the features of a strip, of each kind (cells, D), and hold them until the next."""
        if self._held[0] != number:
            self._held = (-1, [])  # makes room first
            first = number * self._rows
            rows = slice(first, min(first + self._rows, self.grid[0]))
            with torch.inference_mode():
                maps = self._backbone(self._scene, rows)
            self._held = (number, [m[0].movedim(0, -1).flatten(0, 1) for m in maps])
        return self._held[1]

    def features(self, cells: slice) -> list[Tensor]:
        """Return features of cells that follow each other, row by row, of each kind (cells, D)."""
        in_strip = self._rows * self.grid[1]
        found = []
        for number in range(cells.start // in_strip, -(-cells.stop // in_strip)):
            first = number * in_strip
            inside = slice(max(0, cells.start - first), cells.stop - first)
            found.append([part[inside] for part in self._strip(number)])
        return found[0] if len(found) == 1 else [torch.cat(p) for p in zip(*found, strict=True)]


class SceneFeatures(FeatureRows):
    """The united features of a scene, made when they are asked for.

    Args:
        scene: The scene.
        evening: What makes its kinds of features comparable.
    """

    def __init__(self, scene: DescribedScene, evening: Evening) -> None:
        self.scene, self.evening = scene, evening

    def __len__(self) -> int:
        return math.prod(self.scene.grid)

    def __getitem__(self, rows: slice) -> Tensor:
        with torch.inference_mode():
            return self.evening.unite(self.scene.features(rows))


def describe_template(
    backbone: Backbone, template: Tensor, mask: Tensor | None, pose: Pose
) -> DescribedTemplate:
    """Describe a template, (3, h, w), in a pose.

    Args:
        backbone: What the scene was described by.
        template: RGB in [0, 1].
        mask: (h, w) bool, where the template counts; None for all of it.
        pose: How large and how turned it is in the scene.
    """
    everywhere = torch.ones_like(template[:1])  # (1, h, w)
    counting = everywhere if mask is None else mask[None].to(everywhere)
    height, width = _scaled(template, pose.scale)
    if pose.scale != 1:
        template = F.interpolate(template[None], (height, width), mode="bilinear", antialias=True)[
            0
        ].clamp(0, 1)
        counting = F.interpolate(counting[None], (height, width))[0]
    extent = math.sqrt(height * width)
    if pose.rotation:
        template = _turned(template, pose.rotation, "border")
        counting = _turned(counting, pose.rotation, "zeros")
        height, width = template.shape[-2:]
    maps = [features[0] for features in backbone(template[None])]
    rows, columns = maps[0].shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=template.device),
        torch.arange(columns, device=template.device),
        indexing="ij",
    )
    stride = backbone.stride
    middle = torch.tensor([width, height], device=template.device) / (2 * stride) - 0.5
    offsets = torch.stack([x, y], dim=-1).flatten(0, 1) - middle  # (T, 2)
    beyond = (0, columns * stride - width, 0, rows * stride - height)
    share = F.avg_pool2d(F.pad(counting[None], beyond, mode="replicate"), stride).flatten()
    counts = share >= share.max() / 2
    features = [of_kind.flatten(1).T[counts] for of_kind in maps]  # (T, D) each
    return DescribedTemplate((height, width), extent, pose.rotation, features, offsets[counts])


def _scaled(template: Tensor, scale: float) -> tuple[int, int]:
    """Return height and width of a template at a scale."""
    return round(template.shape[-2] * scale), round(template.shape[-1] * scale)


def _enclosing(size: tuple[int, int], rotation: float) -> tuple[int, int]:
    """Return height and width of the box around what is turned by degrees."""
    height, width = size
    sine, cosine = (abs(f(math.radians(rotation))) for f in (math.sin, math.cos))
    return round(height * cosine + width * sine), round(width * cosine + height * sine)


def _turned(picture: Tensor, rotation: float, beyond: str) -> Tensor:
    """Turn a picture, (C, h, w), counter-clockwise by degrees, into the box around it.

    Args:
        picture: What to turn.
        rotation: Degrees.
        beyond: What the corners of the box show: ``border`` repeats that of the picture.
    """
    height, width = picture.shape[-2:]
    rows, columns = _enclosing((height, width), rotation)
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    # from places in the box to places in the picture, both from -1 to 1; y runs down
    back = picture.new_tensor([
        [cosine * columns / width, -sine * rows / width, 0],
        [sine * columns / height, cosine * rows / height, 0],
    ])  # fmt: skip
    grid = F.affine_grid(back[None], [1, 1, rows, columns], align_corners=False)
    return F.grid_sample(picture[None], grid, padding_mode=beyond, align_corners=False)[0]


def unite(
    scene: Sequence[Tensor], templates: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    """Return features of length 1, to which each kind contributes as much as another.

    Every channel has the same mean and deviation over the scene and the first template together.

    Args:
        scene: Features of each kind, (S, D).
        templates: Those of one template, or of its poses.
    """
    evening = Moments.of(scene).join(Moments.of(templates[0])).evening()
    return evening.unite(scene), [evening.unite(maps) for maps in templates]


def cover(free: Tensor, box: Tensor, stride: int) -> None:
    """Mark the cells of a box as taken."""
    rows, columns = free.shape
    x0, y0, x1, y1 = (box / stride).round().long().tolist()
    x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
    free[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = False


def why_not(size: tuple[int, int], template: Tensor, mask: Tensor | None, pose: Pose) -> str:
    """Return why a template cannot be found in a scene of a size; nothing where it can."""
    height, width = _enclosing(_scaled(template, pose.scale), pose.rotation)
    if height > size[0] or width > size[1]:
        return (
            f"the template of {width}x{height} pixels is larger than the scene of "
            f"{size[1]}x{size[0]}"
        )
    if min(height, width) < SMALLEST:
        return f"the template of {width}x{height} pixels is smaller than {SMALLEST}x{SMALLEST}"
    if mask is not None and mask.shape != template.shape[-2:]:
        return f"its mask of {mask.shape[1]}x{mask.shape[0]} pixels must have the template's size"
    shown = template.flatten(1) if mask is None else template[:, mask.to(template.device)]
    if not shown.shape[1]:
        return "its mask leaves nothing of the template"
    if (shown.amax(dim=1) - shown.amin(dim=1)).max() <= PLAIN:
        return "the template is flat: it shows nothing that could be told from other places"
    return ""
