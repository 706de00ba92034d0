"""The outline of a detected object: its template mapped by the homography of SIFT matches."""

import functools

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.boxes import box_iou
from patchmatch.ops.homography import image_corners, resize_homography, warp_points
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.verdict import overlap_kind

MARGIN = 0.3  # of the sides of the box: how far beyond it the object is searched
MIN_EXTENT = 128  # pixels: smaller templates are upsampled, because they have few keypoints
MIN_OVERLAP = 0.5  # intersection over union of the detection and of the box around the outline
UNKNOWN_OUTLINE = torch.full((4, 2), torch.nan)


def find_outline(
    scene: Float[Tensor, "3 H W"],
    template: Float[Tensor, "3 h w"],
    mask: Bool[Tensor, "h w"] | None,
    box: Float[Tensor, " 4"],
) -> Float[Tensor, "4 2"]:
    """Return where the corners of a template are in a scene.

    SIFT keypoints of the template and of the surroundings of its detection are matched. Their
    homography must have more inliers than chance explains and must align the images, and the
    outline must be convex and must agree with the detection.

    Args:
        scene: RGB in [0, 1].
        template: RGB in [0, 1].
        mask: True for pixels of the object; None for all.
        box: The detection, xyxy in pixels of the scene.

    Returns:
        x and y of the centers of the corner pixels of the template, clockwise from the top left,
        in the scene; NaN if the matches do not determine the outline.
    """
    height, width = template.shape[-2:]
    grow = MARGIN * (box[2:] - box[:2])
    left, top = (max(0, int(value)) for value in (box[:2] - grow).floor().tolist())
    right, bottom = (max(0, int(value)) for value in (box[2:] + grow).ceil().tolist())
    right, bottom = min(right, scene.shape[2]), min(bottom, scene.shape[1])
    part = scene[:, top:bottom, left:right]
    if not part.numel():
        return UNKNOWN_OUTLINE
    factor = max(1.0, MIN_EXTENT / (height * width) ** 0.5)
    template, part = _upsample(template, factor), _upsample(part, factor)
    used = None if mask is None else _upsample(mask[None].float(), factor)[0] > 0.5
    matches = _sift().match(template, part, used)
    if matches.homography is None or overlap_kind(matches) != "overlapping":
        return UNKNOWN_OUTLINE
    to_template = resize_homography((height, width), _size(template))
    to_part = resize_homography((bottom - top, right - left), _size(part))
    homography = to_part.inverse() @ matches.homography.double() @ to_template
    found = warp_points(homography, image_corners(height, width))
    found += found.new_tensor([left, top])
    edges = found.roll(-1, dims=0) - found
    following = edges.roll(-1, dims=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    around = torch.cat([found.amin(dim=0) - 0.5, found.amax(dim=0) + 0.5]).to(box)
    if not (turns > 0).all() or box_iou(around[None], box[None]).item() < MIN_OVERLAP:
        return UNKNOWN_OUTLINE
    return found.float()


@functools.cache
def _sift() -> SIFTMatcher:
    """Return the matcher of keypoints; it has no weights."""
    return SIFTMatcher().eval()


def _upsample(image: Float[Tensor, "C H W"], factor: float) -> Float[Tensor, "1 C _ _"]:
    """Return an image on the CPU, enlarged by a factor."""
    image = image[None].cpu()
    if factor == 1:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bicubic", align_corners=False).clamp(0, 1)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
