"""Similarity of two images, and the cost of a nearest-neighbour field."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from patchmatch.nnf.grid import crop_to_patches, gather_pixels

_WINDOW = 11  # side of the Gaussian window of the structural similarity
_ROWS = 256  # rows of an image processed at once, to bound the memory


def psnr(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the peak signal-to-noise ratio in dB of images in [0, 1].

    Args:
        image: The images to measure.
        reference: The true images.
        valid: Pixels to include; None for all.

    Returns:
        Infinite where the images are equal, NaN without any valid pixel.
    """
    squared = (image - reference).square().mean(dim=1)  # (B, H, W)
    return -10 * _masked_mean(squared, valid).log10()


def ssim(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean structural similarity (Wang et al. 2004) of images in [0, 1].

    Gaussian windows of 11x11 pixels, sigma 1.5, in every channel; pixels whose window crosses the
    border are left out.

    Args:
        image: The images to measure.
        reference: The true images.
        valid: Pixels to include, as centres of windows; None for all.

    Returns:
        At most 1; NaN without any valid pixel, as in images smaller than a window.
    """
    margin = _WINDOW // 2
    height, width = image.shape[-2:]
    if min(height, width) < _WINDOW:
        return image.new_full((len(image),), torch.nan)
    strips = []
    for top in range(margin, height - margin, _ROWS):
        rows = slice(top - margin, min(top + _ROWS, height - margin) + margin)
        _, similarity = structural_similarity_index_measure(
            image[:, :, rows],
            reference[:, :, rows],
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
        strips.append(similarity[:, :, margin:-margin, margin:-margin].mean(dim=1))
    inner = None if valid is None else crop_to_patches(valid, _WINDOW)
    return _masked_mean(torch.cat(strips, dim=1), inner)


def patch_ssd(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    patch_size: int,
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean squared difference between patches and their matches.

    Args:
        image0: The image whose whole patches are compared.
        image1: The image that the flow points into; its nearest whole patch is used.
        flow: dx and dy in pixels.
        patch_size: Side of a patch in pixels.
        valid: Centres of the patches to include; None for all.

    Returns:
        Sum over channels, mean over the pixels of a patch; NaN without any valid patch.
    """
    height, width = (side - patch_size + 1 for side in image0.shape[-2:])
    height1, width1 = image1.shape[-2:]
    x = torch.arange(width, device=flow.device)
    inner_flow = crop_to_patches(flow, patch_size)
    strips = []
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        dx, dy = inner_flow[:, :, top : top + rows].unbind(dim=1)
        y = torch.arange(top, top + rows, device=flow.device)[:, None]
        y1 = (y + dy).clamp(0, height1 - patch_size)
        x1 = (x + dx).clamp(0, width1 - patch_size)
        corners = y1 * width1 + x1  # (B, rows, width)
        squared = image1.new_zeros(len(image1), rows, width)
        for i in range(patch_size):
            for j in range(patch_size):
                matched = gather_pixels(image1, corners + (i * width1 + j))
                difference = matched - image0[:, :, top + i : top + i + rows, j : j + width]
                squared += difference.square_().sum(dim=1)
        strips.append(squared)
    inner_valid = None if valid is None else crop_to_patches(valid, patch_size)
    return _masked_mean(torch.cat(strips, dim=1), inner_valid) / patch_size**2


def _masked_mean(
    values: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"] | None
) -> Float[Tensor, "B"]:
    """Return the mean of the valid values, NaN without any."""
    if valid is None:
        return values.mean(dim=(1, 2))
    return (values * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2))
