"""Overlap of boxes, xyxy in pixels, half-open."""

from jaxtyping import Float
from torch import Tensor, maximum, minimum


def box_areas(boxes: Float[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    """Return the areas of boxes."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


def shared_areas(
    boxes0: Float[Tensor, "N 4"], boxes1: Float[Tensor, "M 4"]
) -> Float[Tensor, "N M"]:
    """Return the areas of the intersections of all pairs of boxes."""
    low = maximum(boxes0[:, None, :2], boxes1[None, :, :2])
    high = minimum(boxes0[:, None, 2:], boxes1[None, :, 2:])
    return (high - low).clamp_min(0).prod(dim=2)


def box_iou(boxes0: Float[Tensor, "N 4"], boxes1: Float[Tensor, "M 4"]) -> Float[Tensor, "N M"]:
    """Return the intersection over union of all pairs of boxes; 0 for two of no area."""
    shared = shared_areas(boxes0, boxes1)
    union = box_areas(boxes0)[:, None] + box_areas(boxes1) - shared
    return shared / union.clamp_min(1e-9)
