"""Image pyramids."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def pyramid(image: Float[Tensor, "B C H W"], levels: int) -> list[Float[Tensor, "B C _ _"]]:
    """Return an image pyramid by repeated 2x2 averaging, the full size first.

    A pixel of level l is the mean of 2^l x 2^l pixels, so the centre of pixel x lies at
    ``2^l (x + 1/2) - 1/2`` in the image, and displacements are divided by exactly 2^l. Before
    averaging, an odd height or width is padded by repeating the last row or column.

    Args:
        image: Image of the first level.
        levels: Number of levels.
    """
    pyramid_levels = [image]
    for _ in range(levels - 1):
        height, width = image.shape[-2:]
        if height % 2 or width % 2:
            image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        image = F.avg_pool2d(image, 2)
        pyramid_levels.append(image)
    return pyramid_levels
