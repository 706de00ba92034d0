"""What a nearest-neighbour field says: image 0 rebuilt from image 1, and what agrees both ways."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def _targets(
    flow: Int[Tensor, "B 2 H W"], height: int, width: int
) -> tuple[Int[Tensor, "B H W"], Int[Tensor, "B H W"]]:
    """Return the row and the column that each pixel goes to."""
    y = torch.arange(flow.shape[-2], device=flow.device)[:, None] + flow[:, 1]
    x = torch.arange(flow.shape[-1], device=flow.device) + flow[:, 0]
    return y.clamp(0, height - 1), x.clamp(0, width - 1)


def copy_centres(
    image1: Float[Tensor, "B C H1 W1"], flow: Int[Tensor, "B 2 H W"]
) -> Float[Tensor, "B C H W"]:
    """Rebuild image 0 of the pixels of image 1 that the flow points to, the nearest inside."""
    y, x = _targets(flow, image1.shape[-2], image1.shape[-1])
    places = (y * image1.shape[-1] + x).flatten(1)[:, None]  # (B, 1, H W)
    found = image1.flatten(2).gather(2, places.expand(-1, image1.shape[1], -1))
    return found.unflatten(2, (flow.shape[-2], flow.shape[-1]))


def vote(
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    patch_size: int = 7,
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B C H W"]:
    """Rebuild image 0: each pixel is the mean of what all patches over it say (Barnes et al. 2009).

    Args:
        image1: The image the flow points into.
        flow: A nearest-neighbour field of patches named by their centres.
        patch_size: Side of a patch in pixels.
        valid: Pixels whose patches count; None for all. Where none counts, the pixel that the flow
            points to is copied.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    (height1, width1), (height, width) = image1.shape[-2:], flow.shape[-2:]
    if min(height, width, height1, width1) < patch_size:
        raise ValueError(
            f"both images must hold a patch of {patch_size}x{patch_size} pixels, got flow on "
            f"{height}x{width} and image1 of {height1}x{width1}"
        )
    middle, rows, columns = patch_size // 2, height - patch_size + 1, width - patch_size + 1
    inner = (..., slice(middle, middle + rows), slice(middle, middle + columns))
    y, x = _targets(flow, height1, width1)
    y = (y[inner] - middle).clamp(0, height1 - patch_size)
    x = (x[inner] - middle).clamp(0, width1 - patch_size)
    corners = (y * width1 + x).flatten(1)  # (B, h w)
    weights = image1.new_ones(len(flow), rows, columns)
    if valid is not None:
        weights = valid[inner].to(image1.dtype)
    total = image1.new_zeros(*image1.shape[:2], height, width)
    count = image1.new_zeros(len(flow), height, width)
    pixels = image1.flatten(2)
    for dy in range(patch_size):
        for dx in range(patch_size):
            places = (corners + dy * width1 + dx)[:, None].expand(-1, image1.shape[1], -1)
            said = pixels.gather(2, places).unflatten(2, (rows, columns))  # (B, C, h, w)
            total[..., dy : dy + rows, dx : dx + columns] += said * weights[:, None]
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
    """Return where going from image 0 to image 1 and back ends within ``tolerance`` pixels.

    Args:
        flow01: From image 0 to image 1.
        flow10: From image 1 to image 0.
        tolerance: Greatest distance from where it began, in pixels.
        valid10: Pixels of image 1 that lead back to anything; None for all.
    """
    height1, width1 = flow10.shape[-2:]
    y, x = _targets(flow01, height1, width1)
    places = (y * width1 + x).flatten(1)  # (B, H W)
    back = flow10.flatten(2).gather(2, places[:, None].expand(-1, 2, -1)).view_as(flow01)
    agree = (flow01 + back).square().sum(dim=1) <= tolerance**2
    if valid10 is None:
        return agree
    return agree & valid10.flatten(1).gather(1, places).view_as(agree)
