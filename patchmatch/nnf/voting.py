"""Reconstruction of image 0 from a nearest-neighbour field, and the consistency of two fields."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from patchmatch.nnf.grid import crop_to_patches, flow_targets, gather_pixels


def _target_indices(flow: Int[Tensor, "B 2 H W"], height: int, width: int) -> Int[Tensor, "B H W"]:
    """Return the pixel of image 1 that each pixel is moved to, or the nearest one."""
    y, x = flow_targets(flow)
    return y.clamp(0, height - 1) * width + x.clamp(0, width - 1)


def copy_centres(
    image1: Float[Tensor, "B C H1 W1"], flow: Int[Tensor, "B 2 H W"]
) -> Float[Tensor, "B C H W"]:
    """Reconstruct image 0 by copying the pixel of image 1 that the flow points to.

    Targets outside image 1 are clamped to its border.
    """
    return gather_pixels(image1, _target_indices(flow, *image1.shape[-2:]))


def vote_patches(
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    patch_size: int = 7,
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B C H W"]:
    """Reconstruct image 0 as the mean of all overlapping matched patches (Barnes et al. 2009).

    Args:
        image1: The image that the flow points into.
        flow: A nearest-neighbour field.
        patch_size: Side of a patch in pixels.
        valid: Pixels whose patches are averaged; None for all. A pixel without any such patch is
            copied from where the flow points.

    Raises:
        ValueError: If either image is smaller than a patch.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    (height1, width1), (height, width) = image1.shape[-2:], flow.shape[-2:]
    if min(height, width, height1, width1) < patch_size:
        raise ValueError(
            f"both images must hold a patch of {patch_size}x{patch_size} pixels, got flow on "
            f"{height}x{width} and image1 of {height1}x{width1}"
        )
    margin, rows, columns = patch_size // 2, height - patch_size + 1, width - patch_size + 1
    y, x = (crop_to_patches(target, patch_size) - margin for target in flow_targets(flow))
    y, x = y.clamp(0, height1 - patch_size), x.clamp(0, width1 - patch_size)
    corners = y * width1 + x  # (B, h, w)
    weights = image1.new_ones(len(flow), rows, columns)
    if valid is not None:
        weights = crop_to_patches(valid, patch_size).to(image1.dtype)
    total = image1.new_zeros(*image1.shape[:2], height, width)
    count = image1.new_zeros(len(flow), height, width)
    for dy in range(patch_size):
        for dx in range(patch_size):
            values = gather_pixels(image1, corners + (dy * width1 + dx))  # (B, C, h, w)
            total[..., dy : dy + rows, dx : dx + columns] += values * weights[:, None]
            count[..., dy : dy + rows, dx : dx + columns] += weights
    mean = total / count.clamp_min(1)[:, None]
    if valid is None:
        return mean
    return torch.where((count > 0)[:, None], mean, copy_centres(image1, flow))


def consistent(
    flow01: Int[Tensor, "B 2 H W"],
    flow10: Int[Tensor, "B 2 H1 W1"],
    tolerance: float = 1.0,
    valid10: Bool[Tensor, "B H1 W1"] | None = None,
) -> Bool[Tensor, "B H W"]:
    """Return where flow to image 1 and back ends within ``tolerance`` of its start.

    Args:
        flow01: From image 0 to image 1.
        flow10: From image 1 to image 0.
        tolerance: Largest distance to the start in pixels.
        valid10: Pixels of image 1 whose flow is valid; None for all.
    """
    targets = _target_indices(flow01, *flow10.shape[-2:])
    back = gather_pixels(flow10, targets)
    is_consistent = (flow01 + back).square().sum(dim=1) <= tolerance**2
    if valid10 is None:
        return is_consistent
    return is_consistent & gather_pixels(valid10[:, None], targets)[:, 0]
