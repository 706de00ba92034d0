"""Patches of keypoints: as large as their blob asks for, and turned upright."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.ops.pyramid import pyramid
from patchmatch.ops.sampling import sample_at

REGION = 6.0  # side of the patch over the diameter of the blob: what SIFT describes (Lowe 2004)


def oriented_patches(
    image: Float[Tensor, "1 1 H W"],
    points: Float[Tensor, "N 2"],
    size: Float[Tensor, "N"],
    angle: Float[Tensor, "N"],
    side: int = 32,
) -> Float[Tensor, "N 1 side side"]:
    """Cut the patches of keypoints, turned so that their direction points to the right.

    A patch is ``REGION`` diameters of its blob wide. It is read from the level of a pyramid whose
    pixels are about as large as its own.

    Args:
        image: Gray; beyond its border the nearest pixel counts.
        points: Centres, x and y.
        size: Diameter of the blob in pixels.
        angle: Direction of the keypoint in degrees, clockwise from the x axis, as OpenCV has it.
        side: Of a patch in its own pixels.
    """
    spacing = REGION * size / side
    turn = angle * (math.pi / 180)
    cosine, sine = turn.cos() * spacing, turn.sin() * spacing
    axes = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    place = torch.arange(side, device=image.device, dtype=points.dtype) - (side - 1) / 2
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1).flatten(0, 1)
    places = grid @ axes.mT + points[:, None]  # (N, side * side, 2)
    deepest = max(0, int(math.log2(min(image.shape[-2:]))) - 1)
    level = spacing.log2().round().clamp(0, deepest).long()
    patches = points.new_zeros(len(points), 1, side, side)
    levels = pyramid(image, int(level.max()) + 1) if len(points) else []
    for i, smaller in enumerate(levels):
        mine = level == i
        here = (places[mine] + 0.5) / 2**i - 0.5
        found = sample_at(smaller, here.flatten(0, 1)[None])  # (1, 1, n * side * side)
        patches[mine] = found.view(-1, 1, side, side)
    return patches
