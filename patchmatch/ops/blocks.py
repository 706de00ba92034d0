"""Square blocks on a grid: where they lie, and sums over them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def block_counts(height: int, width: int, block: int, stride: int) -> tuple[int, int]:
    """Return how many whole blocks fit, as (rows, columns).

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        block: Side of a block in pixels.
        stride: Distance from one block to the next in pixels, the same in x and y.

    Raises:
        ValueError: If not one block fits.
    """
    if block < 1 or stride < 1:
        raise ValueError(f"block and stride must be at least 1, got {block} and {stride}")
    if height < block or width < block:
        raise ValueError(
            f"the image must be at least as large as one block of {block}x{block} pixels, "
            f"got {height}x{width}"
        )
    return (height - block) // stride + 1, (width - block) // stride + 1


def block_boxes(height: int, width: int, block: int, stride: int) -> Int[Tensor, "N 4"]:
    """Return the boxes of the blocks, row by row from the top left: xyxy in pixels, half-open."""
    rows, columns = block_counts(height, width, block, stride)
    y0, x0 = torch.meshgrid(
        torch.arange(rows) * stride, torch.arange(columns) * stride, indexing="ij"
    )
    corner = torch.stack([x0, y0], dim=-1).reshape(-1, 2)  # (N, 2)
    return torch.cat([corner, corner + block], dim=1)


def sliding_row_sums(
    image: Float[Tensor, "*batch H W"], side: int, stride: int, starts: int
) -> list[Float[Tensor, "*batch rows W"]]:
    """Sum ``side`` rows, every ``stride`` rows, from row 0 on, from row 1 on and so forth.

    Args:
        image: What to sum.
        side: Rows in a sum.
        stride: Rows from one sum to the next.
        starts: Number of first rows; every start has as many sums as the last one.
    """
    height = image.shape[-2] - starts + 1
    sums = [image[..., :height, :].unfold(-2, side, stride).sum(dim=-1)]
    last = (sums[0].shape[-2] - 1) * stride + 1
    for row in range(starts - 1):
        # one row further: a row enters below and one leaves above
        entering = image[..., row + side : row + side + last : stride, :]
        sums.append(sums[-1] + entering - image[..., row : row + last : stride, :])
    return sums
