"""Similarity of two images, and the cost of a nearest-neighbour field."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

_WINDOW = 11  # side of the Gaussian window of the structural similarity
_ROWS = 256  # of an image measured at once, to bound the memory


def psnr(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the peak signal-to-noise ratio in dB, of images in [0, 1].

    Args:
        image: What was made.
        reference: What it should be.
        valid: Which pixels count; None for all.

    Returns:
        Infinite where the images are equal, NaN where no pixel counts.
    """
    squared = (image - reference).square().mean(dim=1)  # (B, H, W)
    return -10 * _mean(squared, valid).log10()


def ssim(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean structural similarity (Wang et al. 2004), of images in [0, 1].

    Gaussian windows of 11x11 pixels, sigma 1.5, over every channel; pixels whose window does not
    lie wholly in the image do not count.

    Args:
        image: What was made.
        reference: What it should be.
        valid: Which pixels count, as centres of windows; None for all.

    Returns:
        At most 1; NaN where no pixel counts, as in images smaller than a window.
    """
    rim = _WINDOW // 2
    height, width = image.shape[-2:]
    if min(height, width) < _WINDOW:
        return image.new_full((len(image),), torch.nan)
    bands = []
    for top in range(rim, height - rim, _ROWS):
        rows = slice(top - rim, min(top + _ROWS, height - rim) + rim)
        _, similarity = structural_similarity_index_measure(
            image[:, :, rows],
            reference[:, :, rows],
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
        bands.append(similarity[:, :, rim:-rim, rim:-rim].mean(dim=1))
    inner = None if valid is None else valid[:, rim:-rim, rim:-rim]
    return _mean(torch.cat(bands, dim=1), inner)


def patch_ssd(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    patch_size: int,
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean squared difference of patches from those that a flow leads to.

    Args:
        image0: Whose whole patches are compared. That of pixel (x, y) begins at (x, y) less half
            of ``patch_size``, rounded down.
        image1: Where the flow leads to; the nearest whole patch of it counts.
        flow: dx and dy in pixels.
        patch_size: Side of a patch in pixels.
        valid: Which patches count, by their pixel; None for all.

    Returns:
        Per pixel of a patch, summed over channels; NaN where no patch counts.
    """
    half = patch_size // 2
    height, width = (side - patch_size + 1 for side in image0.shape[-2:])
    height1, width1 = image1.shape[-2:]
    x = torch.arange(width, device=flow.device)
    values = image1.flatten(2)  # (B, C, H1 * W1)
    bands = []
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        dx, dy = flow[:, :, top + half : top + half + rows, half : half + width].unbind(dim=1)
        y = torch.arange(top, top + rows, device=flow.device)[:, None]
        y1 = (y + dy).clamp(0, height1 - patch_size)
        x1 = (x + dx).clamp(0, width1 - patch_size)
        corner = (y1 * width1 + x1).flatten(1)[:, None]  # (B, 1, rows * width)
        corner = corner.expand(-1, values.shape[1], -1)
        squared = values.new_zeros(len(values), rows, width)
        for i in range(patch_size):
            for j in range(patch_size):
                seen = values.gather(2, corner + (i * width1 + j)).unflatten(2, (rows, width))
                seen = seen - image0[:, :, top + i : top + i + rows, j : j + width]
                squared += seen.square_().sum(dim=1)
        bands.append(squared)
    whole = None if valid is None else valid[:, half : half + height, half : half + width]
    return _mean(torch.cat(bands, dim=1), whole) / patch_size**2


def _mean(
    values: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"] | None
) -> Float[Tensor, "B"]:
    """Return the mean of the values that count, NaN where none does."""
    if valid is None:
        return values.mean(dim=(1, 2))
    return (values * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2))
