"""The pixel grid of an image, the grid of its whole patches, and the targets of a flow.

The patch of a pixel (y, x) has the rows ``y - patch_size // 2`` to
``y - patch_size // 2 + patch_size - 1``, and columns likewise. The grid of whole patches holds the
pixels whose patches lie inside the image, ``patch_size - 1`` fewer than pixels along each axis.
"""

import torch
from jaxtyping import Int, Num, Shaped
from torch import Tensor


def crop_to_patches(
    values: Shaped[Tensor, "*batch H W"], patch_size: int
) -> Shaped[Tensor, "*batch h w"]:
    """Return the values at the centres of whole patches."""
    margin = patch_size // 2
    height, width = (side - patch_size + 1 for side in values.shape[-2:])
    return values[..., margin : margin + height, margin : margin + width]


def pad_to_image(
    values: Shaped[Tensor, "*batch h w"], patch_size: int
) -> Shaped[Tensor, "*batch H W"]:
    """Return values of whole patches for every pixel; those at the border get the nearest."""
    y, x = (
        nearest_patch(side + patch_size - 1, patch_size, values.device)
        for side in values.shape[-2:]
    )
    return values[..., y[:, None], x]


def nearest_patch(size: int, patch_size: int, device: torch.device) -> Int[Tensor, " size"]:
    """Return for each pixel of an axis the position of its nearest whole patch in their grid."""
    return (torch.arange(size, device=device) - patch_size // 2).clamp(0, size - patch_size)


def unravel(indices: Int[Tensor, "*n"], columns: int) -> Int[Tensor, "2 *n"]:
    """Return row and column of indices into a grid with ``columns`` columns."""
    return torch.stack([indices // columns, indices % columns])


def flow_targets(
    flow: Num[Tensor, "B 2 H W"],
) -> tuple[Num[Tensor, "B H W"], Num[Tensor, "B H W"]]:
    """Return the row and the column that each pixel is moved to."""
    y = torch.arange(flow.shape[-2], device=flow.device)[:, None] + flow[:, 1]
    x = torch.arange(flow.shape[-1], device=flow.device) + flow[:, 0]
    return y, x


def gather_pixels(
    values: Shaped[Tensor, "B C H1 W1"], indices: Int[Tensor, "B h w"]
) -> Shaped[Tensor, "B C h w"]:
    """Return the values of all channels at pixels, which are numbered row by row."""
    expanded = indices.flatten(1)[:, None].expand(-1, values.shape[1], -1)  # (B, C, h w)
    return values.flatten(2).gather(2, expanded).unflatten(2, indices.shape[1:])
