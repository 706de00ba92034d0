"""Luma of RGB images."""

import torch
from jaxtyping import Float
from torch import Tensor

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def luma(image: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 1 H W"]:
    """Return the luma Y' of an RGB image (ITU-R BT.601)."""
    weights = torch.tensor(WEIGHTS, dtype=image.dtype, device=image.device)
    return (image * weights[:, None, None]).sum(dim=-3, keepdim=True)


def to_gray(image: Float[Tensor, "*B C H W"]) -> Float[Tensor, "*B 1 H W"]:
    """Return the luma of an RGB image; a gray image is returned as it is."""
    return luma(image) if image.shape[-3] == 3 else image
