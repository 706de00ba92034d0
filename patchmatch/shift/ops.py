"""Block-wise similarity of two feature maps under the nine shifts of at most one pixel.

The comparison is symmetric in the frames. Forward, the inner window of a block of frame 0 is
compared with the shifted window of frame 1; backward, the inner window of frame 1 is compared with
the window of frame 0 shifted by the opposite. A window is one pixel smaller than its block on each
side, so that every shifted window lies within the block.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.ops.blocks import block_sums, block_windows, sliding_row_sums

#: The nine displacements (dx, dy), row by row from the top left.
SHIFTS = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
STILL = SHIFTS.index((0, 0))
LARGER = len(SHIFTS)  #: class of a displacement above one pixel
MARGIN = 1  # pixels between the border of a block and its window


def window_moments(
    features: Float[Tensor, "*batch H W"], block: int, stride: int, edges: bool = False
) -> tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]]:
    """Return mean and variance of the features in the window of every block, under each shift.

    Entry ``s`` is over the window displaced by (dx, dy) = ``SHIFTS[s]``.
    """
    side = block - 2 * MARGIN

    def means(values: Tensor) -> Tensor:
        by_row = sliding_row_sums(values, side, stride, starts=3, edges=edges)  # by dy
        width = values.shape[-1]
        sums = [
            block_sums(row, -1, side, stride, edges=edges)
            for dx, dy in SHIFTS
            for row in [by_row[MARGIN + dy][..., MARGIN + dx : width - MARGIN + dx]]
        ]
        return torch.stack(sums) / side**2

    return _mean_and_variance(features, means)


def shifted_products(
    features0: Float[Tensor, "*batch H W"],
    features1: Float[Tensor, "*batch H W"],
    block: int,
    stride: int,
    edges: bool = False,
) -> tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]]:
    """Return the mean of ``features0(x) * features1(x + shift)`` over the window of every block.

    Returns:
        Forward, with x in the inner window of frame 0, and backward, with x + shift in the inner
        window of frame 1; entry ``s`` of each is for ``SHIFTS[s]``.
    """
    side = block - 2 * MARGIN
    height, width = features0.shape[-2:]
    forward, backward = [], []
    for dx, dy in SHIFTS:
        # x in (x0, y0) .. (x1, y1): the union of what forward and backward need
        x0, y0 = MARGIN - max(0, dx), MARGIN - max(0, dy)
        x1, y1 = width - MARGIN + max(0, -dx), height - MARGIN + max(0, -dy)
        product = (
            features0[..., y0:y1, x0:x1] * features1[..., y0 + dy : y1 + dy, x0 + dx : x1 + dx]
        )
        by_row = sliding_row_sums(product, side, stride, starts=1 + abs(dy), edges=edges)
        for sums, top, left in (
            (forward, max(0, dy), max(0, dx)),
            (backward, max(0, -dy), max(0, -dx)),
        ):
            columns = by_row[top][..., left : left + width - 2 * MARGIN]
            sums.append(block_sums(columns, -1, side, stride, edges=edges))
    return torch.stack(forward) / side**2, torch.stack(backward) / side**2


def shift_similarity(
    features0: Float[Tensor, "*batch H W"],
    moments0: tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]],
    features1: Float[Tensor, "*batch H W"],
    moments1: tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]],
    block: int,
    stride: int,
    eps: float,
    edges: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return correlation, log-residual, residual and total variance per block and shift.

    Args:
        features0: Features of the earlier frame.
        moments0: Their ``window_moments``, with the same ``block`` and ``stride``.
        features1: Features of the later frame.
        moments1: Their ``window_moments``.
        block: Side of a block in pixels, at least 4.
        stride: Distance between blocks in pixels.
        eps: Variance added to denominators: a block without texture has correlation 0, and the
            log-residual of an exact match is finite.
        edges: Whether the blocks cover the whole frame, see ``ops.blocks.block_starts``.

    Returns:
        The normalised cross-correlation in [-1, 1], the logarithm of 1 - correlation, the variance
        of the difference and the sum of both variances, each (9, *batch, rows, columns), averaged
        over the forward and the backward comparison; entry ``s`` is for ``SHIFTS[s]``.
    """
    (mean0, variance0), (mean1, variance1) = moments0, moments1
    forward, backward = shifted_products(features0, features1, block, stride, edges)
    correlation, log_residual, residual, total = (torch.zeros_like(forward) for _ in range(4))
    for product, means, inner, shifted in (
        (forward, mean0[STILL] * mean1, variance0[STILL], variance1),
        # SHIFTS in reverse order are the opposite shifts
        (backward, mean1[STILL] * mean0.flip(0), variance1[STILL], variance0.flip(0)),
    ):
        scale = (inner * shifted + 1e-14).sqrt()  # sqrt has no finite gradient at 0
        covariance = product - means
        correlation = correlation + covariance / (scale + eps) / 2
        unexplained = (scale - covariance).clamp_min(0)
        log_residual = log_residual + ((unexplained + eps) / (scale + eps)).log() / 2
        residual = residual + (inner + shifted - 2 * covariance).clamp_min(0) / 2
        total = total + (inner + shifted) / 2
    return correlation, log_residual, residual, total


def overlap_moments(
    features: Float[Tensor, "*batch H W"], block: int, stride: int, edges: bool = False
) -> tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]]:
    """Return mean and variance of the features in the overlap of every block with itself, shifted.

    Entry ``s`` is over the pixels x of a block for which x + (dx, dy) = x + ``SHIFTS[s]`` lies in
    the block, too.
    """

    def means(values: Tensor) -> Tensor:
        sums = [
            columns
            for rows in _overlap_sums(values, -2, block, stride, edges)
            for columns in _overlap_sums(rows, -1, block, stride, edges)
        ]
        return torch.stack([s / _overlap(i, block) for i, s in enumerate(sums)])

    return _mean_and_variance(features, means)


def overlap_products(
    features0: Float[Tensor, "*batch H W"],
    features1: Float[Tensor, "*batch H W"],
    block: int,
    stride: int,
    edges: bool = False,
) -> Float[Tensor, "9 *batch rows columns"]:
    """Return the mean of ``features0(x) * features1(x + SHIFTS[s])`` over the overlap.

    The overlap of a block are its pixels x for which x + ``SHIFTS[s]`` lies in the block, too.
    """
    height, width = features0.shape[-2:]
    products = []
    for index, (dx, dy) in enumerate(SHIFTS):
        x0, x1, y0, y1 = max(0, -dx), width - max(0, dx), max(0, -dy), height - max(0, dy)
        product = (
            features0[..., y0:y1, x0:x1] * features1[..., y0 + dy : y1 + dy, x0 + dx : x1 + dx]
        )
        rows = block_sums(product, -2, block - abs(dy), stride, edges=edges)
        sums = block_sums(rows, -1, block - abs(dx), stride, edges=edges)
        products.append(sums / _overlap(index, block))
    return torch.stack(products)


def _overlap(index: int, block: int) -> int:
    """Return the number of pixels in the overlap of a block with itself under a shift."""
    dx, dy = SHIFTS[index]
    return (block - abs(dx)) * (block - abs(dy))


def _overlap_sums(
    values: Tensor, dim: int, block: int, stride: int, edges: bool
) -> tuple[Tensor, ...]:
    """Sum along a dimension over each block without its first, without any, without its last."""
    windows = block_windows(values, dim, block, stride, edges=edges)
    full = torch.cat([window.sum(dim=-1) for window in windows], dim=dim)
    first, last = (torch.cat([window[..., i] for window in windows], dim=dim) for i in (0, -1))
    return full - first, full, full - last


def _mean_and_variance(
    values: Tensor, means: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, "9 *batch rows columns"], Float[Tensor, "9 *batch rows columns"]]:
    """Return mean and variance in windows, given a function that averages over them."""
    mean = means(values)
    return mean, (means(values * values) - mean * mean).clamp_min(0)
