"""What a judge sees in the cells of a window, and what blocks say to their neighbours."""

import numpy as np
from numpy import float32

from patchmatch.kernels.compiling import kernel


@kernel
def cell_votes(residual, known, weight, votes):
    """Compute a layer of rectified units in every cell, and their means over the cells.

    Args:
        residual: (N, K, 16), of each candidate in each cell.
        known: (N, 16, H), what the units get from all but the residuals.
        weight: (2, H), what they make of a residual, and of how far it is above the least one.
        votes: (N, K, H), written.
    """
    count, cells = residual.shape[1:]
    units = weight.shape[1]
    above = np.empty(units, float32)
    for n in range(len(residual)):
        votes[n] = 0
        for cell in range(cells):
            least = residual[n, 0, cell]
            for k in range(1, count):
                least = min(least, residual[n, k, cell])
            for h in range(units):
                above[h] = known[n, cell, h] - least * weight[1, h]
            for k in range(count):
                value = residual[n, k, cell]
                for h in range(units):
                    unit = value * (weight[0, h] + weight[1, h]) + above[h]
                    votes[n, k, h] += max(unit, float32(0))
        for k in range(count):
            for h in range(units):
                votes[n, k, h] /= float32(cells)


@kernel
def neighbours_support(candidates, belief, trust, reach, least, support):
    """Tell each candidate how much the four neighbours believe in displacements near it.

    Args:
        candidates: (B, R, C, K, 2), displacements.
        belief: (B, R, C, K), each block's probabilities.
        trust: (B, R, C), how far each block is trusted.
        reach: (M,), distances at which a displacement counts a half.
        least: Added to the neighbours' trust.
        support: (B, R, C, K, 2 M), written: by trusted neighbours, and by all alike.
    """
    rows, columns, count = candidates.shape[1:4]
    x = np.empty(4 * count, float32)
    y = np.empty(4 * count, float32)
    believed = np.empty(4 * count, float32)
    trusted = np.empty(4 * count, float32)
    squared = 1 / reach**2
    for n in range(len(candidates) * rows * columns):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        above, below = max(r - 1, 0), min(r + 1, rows - 1)
        left, right = max(c - 1, 0), min(c + 1, columns - 1)
        around = ((above, c), (r, left), (r, right), (below, c))
        total = least
        for row, column in around:
            total += trust[b, row, column]
        at = 0
        for row, column in around:
            share = trust[b, row, column] / total
            for k in range(count):
                x[at] = candidates[b, row, column, k, 0]
                y[at] = candidates[b, row, column, k, 1]
                believed[at] = belief[b, row, column, k] * float32(0.25)
                trusted[at] = belief[b, row, column, k] * share
                at += 1
        for k in range(count):
            here_x, here_y = candidates[b, r, c, k, 0], candidates[b, r, c, k, 1]
            for m in range(len(reach)):
                by_trusted, by_all = float32(0), float32(0)
                for i in range(4 * count):
                    apart_x, apart_y = here_x - x[i], here_y - y[i]
                    apart = apart_x * apart_x + apart_y * apart_y
                    near = float32(1) / (float32(1) + apart * squared[m])
                    by_trusted += near * trusted[i]
                    by_all += near * believed[i]
                support[b, r, c, k, 2 * m] = by_trusted
                support[b, r, c, k, 2 * m + 1] = by_all
