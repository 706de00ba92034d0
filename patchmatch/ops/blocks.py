"""Square blocks on a regular grid: their boxes, and sums over rows."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def block_counts(height: int, width: int, block: int, stride: int) -> tuple[int, int]:
    """Return the number of blocks inside an image, as (rows, columns).

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        block: Side of a block in pixels.
        stride: Distance between neighbouring blocks in pixels, in x and y.

    Raises:
        ValueError: If the image is smaller than a block.
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
    """Return the boxes of the blocks in row-major order: xyxy in pixels, half-open.

    The arguments are those of ``block_counts``.
    """
    rows, columns = block_counts(height, width, block, stride)
    y0, x0 = torch.meshgrid(
        torch.arange(rows) * stride, torch.arange(columns) * stride, indexing="ij"
    )
    corner = torch.stack([x0, y0], dim=-1).reshape(-1, 2)  # (N, 2)
    return torch.cat([corner, corner + block], dim=1)


def sliding_row_sums(
    image: Float[Tensor, "*batch H W"], side: int, stride: int, starts: int
) -> list[Float[Tensor, "*batch rows W"]]:
    """Sum windows of ``side`` rows every ``stride`` rows, for each of several start rows.

    Args:
        image: Values to sum.
        side: Rows in a window.
        stride: Rows between neighbouring windows.
        starts: Number of start rows: 0 to ``starts`` - 1.

    Returns:
        The sums of each start row; all have as many windows as fit for the last start row.
    """
    height = image.shape[-2] - starts + 1
    sums = [image[..., :height, :].unfold(-2, side, stride).sum(dim=-1)]
    last = (sums[0].shape[-2] - 1) * stride + 1
    for row in range(starts - 1):
        # Moving the window by one row adds a row below and removes one above.
        entering = image[..., row + side : row + side + last : stride, :]
        sums.append(sums[-1] + entering - image[..., row : row + last : stride, :])
    return sums
