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


def block_sums(
    image: Float[Tensor, "*batch H W"], block: int, stride: int
) -> Float[Tensor, "*batch rows columns"]:
    """Sum over every whole block of ``block`` x ``block`` pixels, ``stride`` pixels apart."""
    row_sums = image.unfold(-2, block, stride).sum(dim=-1)  # (..., rows, W)
    return row_sums.unfold(-1, block, stride).sum(dim=-1)
