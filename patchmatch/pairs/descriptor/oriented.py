"""Patches of keypoints, normalised for scale and orientation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.ops.pyramid import pyramid
from patchmatch.ops.sampling import bilinear_sample

REGION = 6.0  # side of the patch over the diameter of the blob: what SIFT describes (Lowe 2004)


def oriented_patches(
    image: Float[Tensor, "1 1 H W"],
    points: Float[Tensor, "N 2"],
    size: Float[Tensor, "N"],
    angle: Float[Tensor, "N"],
    side: int = 32,
) -> Float[Tensor, "N 1 side side"]:
    """Extract the patches of keypoints, rotated so that their orientation points to the right.

    A patch covers ``REGION`` diameters of its blob. It is sampled from the pyramid level with the
    nearest pixel size, so that it does not alias.

    Args:
        image: Gray; pixels outside repeat the border.
        points: Centres, x and y.
        size: Diameter of the blob in pixels.
        angle: Orientation in degrees, clockwise from the x axis, as in OpenCV.
        side: Side of a patch in its own pixels.
    """
    spacing = REGION * size / side  # pixels of the image per pixel of the patch
    radians = angle * (math.pi / 180)
    cosine, sine = radians.cos() * spacing, radians.sin() * spacing
    axes = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    offset = torch.arange(side, device=image.device, dtype=points.dtype) - (side - 1) / 2
    grid = torch.stack(torch.meshgrid(offset, offset, indexing="xy"), dim=-1).flatten(0, 1)
    positions = grid @ axes.mT + points[:, None]  # (N, side * side, 2)
    coarsest = max(0, int(math.log2(min(image.shape[-2:]))) - 1)
    level = spacing.log2().round().clamp(0, coarsest).long()
    patches = points.new_zeros(len(points), 1, side, side)
    levels = pyramid(image, int(level.max()) + 1) if len(points) else []
    for i, scaled in enumerate(levels):
        chosen = level == i
        on_level = (positions[chosen] + 0.5) / 2**i - 0.5
        values = bilinear_sample(scaled, on_level.flatten(0, 1)[None])  # (1, 1, n * side * side)
        patches[chosen] = values.view(-1, 1, side, side)
    return patches
