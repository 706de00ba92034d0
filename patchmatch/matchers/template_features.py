"""Scenes and templates as they are compared with each other."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.nets import Backbone

SMALLEST = 4  # pixels of a template
PLAIN = 2 / 255  # a template whose pixels differ by no more shows nothing
_NO_WEIGHT = 1e-6


class DescribedTemplate(NamedTuple):
    """A template, described at one of its scales."""

    size: tuple[int, int]  #: height and width in pixels
    maps: list[Tensor]  #: (T, D) of each kind
    offsets: Tensor  #: (T, 2) x and y of each feature from the centre, in cells


class DescribedScene(NamedTuple):
    """A scene as templates are compared with it.

    Attributes:
        size: Height and width in pixels.
        grid: Rows and columns of cells.
        maps: Features of each kind, (S, D), row by row.
    """

    size: tuple[int, int]
    grid: tuple[int, int]
    maps: list[Tensor]


def describe_template(
    backbone: Backbone, template: Tensor, mask: Tensor | None, scale: float
) -> DescribedTemplate:
    """Describe a template, (3, h, w), at a scale.

    Args:
        backbone: What the scene was described by.
        template: RGB in [0, 1].
        mask: (h, w) bool, where the template counts; None for all of it.
        scale: Its size in the scene over its own.
    """
    height, width = _scaled(template, scale)
    if scale != 1:
        template = F.interpolate(template[None], (height, width), mode="bilinear", antialias=True)[
            0
        ].clamp(0, 1)
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
    counts = torch.ones(rows * columns, dtype=torch.bool, device=template.device)
    if mask is not None:
        cells = mask[None, None].float().to(template.device)
        cells = F.interpolate(cells, (height, width))
        beyond = (0, columns * stride - width, 0, rows * stride - height)
        share = F.avg_pool2d(F.pad(cells, beyond), stride).flatten()
        counts = share >= share.max() / 2
    features = [of_kind.flatten(1).T[counts] for of_kind in maps]  # (T, D) each
    return DescribedTemplate((height, width), features, offsets[counts])


def _scaled(template: Tensor, scale: float) -> tuple[int, int]:
    """Return height and width of a template at a scale."""
    return round(template.shape[-2] * scale), round(template.shape[-1] * scale)


def unite(scene: list[Tensor], template: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return features of length 1, to which each kind contributes as much as another.

    Every channel has the same mean and deviation over scene and template together.
    """
    kinds = []
    for of_scene, of_template in zip(scene, template, strict=True):
        both = (of_scene, of_template)
        count = sum(map(len, both))
        mean = sum((part.sum(dim=0) for part in both), start=of_scene.new_zeros(())) / count
        squares = [((part - mean) ** 2).sum(dim=0) for part in both]
        scale = (sum(squares, start=of_scene.new_zeros(())) / count).sqrt() + _NO_WEIGHT
        kinds.append([F.normalize((part - mean) / scale, dim=1) for part in both])
    united = [torch.cat(parts, dim=1) for parts in zip(*kinds, strict=True)]
    weight = len(kinds) ** -0.5
    return united[0] * weight, united[1] * weight


def cover(free: Tensor, box: Tensor, stride: int) -> None:
    """Mark the cells of a box as taken."""
    rows, columns = free.shape
    x0, y0, x1, y1 = (box / stride).round().long().tolist()
    x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
    free[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = False


def why_not(
    size: tuple[int, int], template: Tensor, mask: Tensor | None, scale: float = 1.0
) -> str:
    """Return why a template cannot be found in a scene of a size; nothing where it can."""
    height, width = _scaled(template, scale)
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
