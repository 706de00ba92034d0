"""Pyramids of frames."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def pyramid(image: Float[Tensor, "B C H W"], levels: int) -> list[Float[Tensor, "B C _ _"]]:
    """Halve an image again and again, from full size down.

    A pixel of level l is the mean of 2^l x 2^l pixels, so the centre of pixel x lies at
    ``2^l (x + 1/2) - 1/2`` of the image, and displacements shrink by exactly 2^l. A row or column
    that is odd in number is repeated.
    """
    found = [image]
    for _ in range(levels - 1):
        height, width = image.shape[-2:]
        if height % 2 or width % 2:
            image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        image = F.avg_pool2d(image, 2)
        found.append(image)
    return found
