"""Features of a template in a pose, and of what surrounds it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.templates.backbones import Backbone

MIN_SIDE = 4  # pixels of a template
MIN_RANGE = 2 / 255  # of the values of a template; below it the template is flat


class Pose(NamedTuple):
    """The similarity transform of a template before the search."""

    scale: float = 1.0  #: size in the scene divided by the size of the template
    rotation: float = 0.0  #: degrees, counter-clockwise


class TemplateFeatures(NamedTuple):
    """Features of a template in a pose, and of its surroundings where these are known."""

    size: tuple[int, int]  #: height and width of the bounding box of the object in pixels
    extent: float  #: square root of the area in pixels
    scale: float
    rotation: float  #: degrees
    num_object: int  #: features of the object; they come before those of the surroundings
    maps: list[Tensor]  #: (T, D) of each kind
    offsets: Tensor  #: (num_object, 2) x and y of each from the centre of the object, in cells


def extract_template_features(
    backbone: Backbone,
    template: Tensor,
    mask: Tensor | None,
    pose: Pose,
    box: Tensor | None = None,
) -> TemplateFeatures:
    """Extract the features of a template in a pose.

    Args:
        backbone: Feature extractor of the scene.
        template: (3, h, w) RGB in [0, 1].
        mask: (h, w) bool, True for pixels of the object; None for all.
        pose: Scale and rotation of the template in the scene.
        box: (4,) xyxy of the object in the template in pixels; None for all of it. The surroundings
            are the rest of the box of three times its width and height: what matches them better
            than the object is not the object.
    """
    stride = backbone.stride
    corners = _whole_pixels(box, template)
    region = _surroundings(corners, template, stride) if box is not None else corners
    left, top, right, bottom = region
    height, width = corners[3] - corners[1], corners[2] - corners[0]
    weight = torch.zeros_like(template[:2])  # 1 for pixels of the object, and for known pixels
    weight[0, corners[1] : corners[3], corners[0] : corners[2]] = 1
    weight[1] = 1
    if mask is not None:
        weight[0] *= mask.to(weight)
    template, weight = template[:, top:bottom, left:right], weight[:, top:bottom, left:right]
    sides = torch.tensor([right - left, bottom - top]).to(template)
    centre = template.new_tensor([corners[0] + corners[2], corners[1] + corners[3]]) / 2
    centre -= template.new_tensor([left, top])
    if pose.scale != 1:
        size = _scaled_size(template.shape, pose.scale)
        template = F.interpolate(template[None], size, mode="bilinear", antialias=True)[0]
        template = template.clamp(0, 1)
        weight = F.interpolate(weight[None], size)[0]
        scaled = torch.tensor(size[::-1]).to(template)
        centre, sides = centre * scaled / sides, scaled
        height, width = _scaled_size((height, width), pose.scale)
    extent = math.sqrt(height * width)
    if pose.rotation:
        template = _rotate(template, pose.rotation, "border")
        weight = _rotate(weight, pose.rotation, "zeros")
        sine, cosine = (f(math.radians(pose.rotation)) for f in (math.sin, math.cos))
        x, y = (centre - sides / 2).tolist()
        sides = torch.tensor(template.shape[:0:-1]).to(template)
        centre = sides / 2 + sides.new_tensor([cosine * x + sine * y, cosine * y - sine * x])
        height, width = _rotated_size((height, width), pose.rotation)
    maps = [features[0] for features in backbone(template[None])]  # (D, rows, columns) each
    rows, columns = maps[0].shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=template.device),
        torch.arange(columns, device=template.device),
        indexing="ij",
    )
    positions = torch.stack([x, y], dim=-1).flatten(0, 1)  # (rows * columns, 2)
    padding = (0, columns * stride - template.shape[-1], 0, rows * stride - template.shape[-2])
    share, known = F.avg_pool2d(F.pad(weight, padding, mode="replicate"), stride).flatten(1)
    is_object = share >= share.max() / 2
    # Every second row and column of the surroundings is enough, and a quarter of the time.
    is_ring = (share == 0) & (known >= 0.5) & (positions % 2 == 0).all(dim=1)
    used = torch.nonzero(is_object).flatten()
    num_object = len(used)
    if box is not None:
        used = torch.cat([used, torch.nonzero(is_ring).flatten()])
    return TemplateFeatures(
        (height, width), extent, pose.scale, pose.rotation, num_object,
        [part.flatten(1).T[used] for part in maps],
        positions[used[:num_object]] - (centre / stride - 0.5),
    )  # fmt: skip


def _whole_pixels(box: Tensor | None, image: Tensor) -> tuple[int, int, int, int]:
    """Return a box, xyxy, at whole pixels; of None the whole image."""
    height, width = image.shape[-2:]
    if box is None:
        return 0, 0, width, height
    x0, y0, x1, y1 = (round(value) for value in box.tolist())
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _surroundings(
    box: tuple[int, int, int, int], image: Tensor, stride: int
) -> tuple[int, int, int, int]:
    """Return a box grown by its width and height on each side, within the image.

    The corner of the box stays on the grid of cells.
    """
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = box
    grow_x, grow_y = (-(-side // stride) * stride for side in (x1 - x0, y1 - y0))
    left, top = x0 - min(grow_x, x0 // stride * stride), y0 - min(grow_y, y0 // stride * stride)
    return left, top, min(x1 + grow_x, width), min(y1 + grow_y, height)


def crop_box(image: Tensor, box: Tensor | None) -> Tensor:
    """Return the part of an image, (..., h, w), in a box, xyxy in pixels; of None all of it."""
    x0, y0, x1, y1 = _whole_pixels(box, image)
    return image[..., y0:y1, x0:x1]


def _scaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """Return height and width, the last two of a size, at a scale."""
    return round(size[-2] * scale), round(size[-1] * scale)


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


def unsearchable_reason(
    size: tuple[int, int], template: Tensor, mask: Tensor | None, pose: Pose
) -> str:
    """Return why a template cannot be searched in a scene of a size; "" if it can."""
    height, width = _rotated_size(_scaled_size(template.shape, pose.scale), pose.rotation)
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
