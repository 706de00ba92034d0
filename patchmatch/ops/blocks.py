"""Square blocks that cover an image: their boxes, and sums over them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def block_counts(
    height: int, width: int, block: int, stride: int, *, edges: bool = False
) -> tuple[int, int]:
    """Return the number of blocks in an image, as (rows, columns).

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        block: Side of a block in pixels.
        stride: Distance between neighbouring blocks in pixels, in x and y.
        edges: Whether the blocks cover the whole image, as those of ``block_starts`` do; otherwise
            they are those of the regular grid.

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
    last = stride - 1 if edges else 0
    return (height - block + last) // stride + 1, (width - block + last) // stride + 1


def block_starts(length: int, block: int, stride: int, *, edges: bool = False) -> Int[Tensor, " N"]:
    """Return where the blocks along one side of an image begin, in pixels.

    Args:
        length: Height or width of the image in pixels, at least ``block``.
        block: Side of a block in pixels.
        stride: Distance between neighbouring blocks in pixels.
        edges: Whether the blocks cover the whole side: if the last block of the regular grid ends
            before the border, one more begins at ``length - block`` and overlaps it.
    """
    count, _ = block_counts(length, length, block, stride, edges=edges)
    return (torch.arange(count) * stride).clamp_max(length - block)


def block_boxes(
    height: int, width: int, block: int, stride: int, *, edges: bool = False
) -> Int[Tensor, "N 4"]:
    """Return the boxes of the blocks in row-major order: xyxy in pixels, half-open.

    The arguments are those of ``block_counts``.
    """
    block_counts(height, width, block, stride)  # raises if no block fits
    y0, x0 = torch.meshgrid(
        *(block_starts(length, block, stride, edges=edges) for length in (height, width)),
        indexing="ij",
    )
    corner = torch.stack([x0, y0], dim=-1).reshape(-1, 2)  # (N, 2)
    return torch.cat([corner, corner + block], dim=1)


def block_windows(
    values: Tensor, dim: int, side: int, stride: int, *, edges: bool = False
) -> list[Tensor]:
    """Return the windows at ``block_starts`` along a dimension, as views.

    Args:
        values: Any tensor.
        dim: The dimension, negative.
        side: Length of a window.
        stride: Distance between neighbouring windows.
        edges: Whether the windows reach the border, as in ``block_starts``.

    Returns:
        The windows of the regular grid, and that at the border if there is one more; along ``dim``
        the windows, and a new last dimension inside them.
    """
    windows = [values.unfold(dim, side, stride)]
    length = values.shape[dim]
    if edges and (length - side) % stride:
        windows.append(values.narrow(dim, length - side, side).unfold(dim, side, 1))
    return windows


def block_sums(values: Tensor, dim: int, side: int, stride: int, *, edges: bool = False) -> Tensor:
    """Return the sums of ``block_windows``, whose arguments these are."""
    sums = [window.sum(dim=-1) for window in block_windows(values, dim, side, stride, edges=edges)]
    return sums[0] if len(sums) == 1 else torch.cat(sums, dim=dim)


def sliding_row_sums(
    image: Float[Tensor, "*batch H W"], side: int, stride: int, starts: int, *, edges: bool = False
) -> list[Float[Tensor, "*batch rows W"]]:
    """Sum windows of ``side`` rows every ``stride`` rows, for each of several start rows.

    Args:
        image: Values to sum.
        side: Rows in a window.
        stride: Rows between neighbouring windows.
        starts: Number of start rows: 0 to ``starts`` - 1.
        edges: Whether the windows of the last start row reach the border, as in ``block_starts``.

    Returns:
        The sums of each start row; all have as many windows as fit for the last start row.
    """
    height = image.shape[-2] - starts + 1
    sums = [block_sums(image[..., :height, :], -2, side, stride, edges=edges)]
    last = (height - side) // stride * stride + 1
    for row in range(starts - 1):
        # Moving the window by one row adds a row below and removes one above.
        moved = [slice(row, row + last, stride)]
        if edges and (height - side) % stride:
            moved.append(slice(row + height - side, row + height - side + 1))
        entering, leaving = (
            torch.cat([image[..., s.start + shift : s.stop + shift : s.step, :] for s in moved], -2)
            for shift in (side, 0)
        )
        sums.append(sums[-1] + entering - leaving)
    return sums
