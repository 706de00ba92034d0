"""Compiled voting and smoothing of estimates.

Estimates are numbered row by row over all frames; N = B R C.
"""

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.blocks import count_fresh
from patchmatch.motion.kernels.compiling import helper, kernel

# of the 3x3 square around a block, opposite ones one after the other
OPPOSITE = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1))


@kernel
def cell_ballot(
    offered, fresh, alone, residual, texture, noise, formula, dear, first, last, share,
):  # fmt: skip
    """Tell which share of a block's cells votes for each displacement.

    Args:
        offered: (N, K, 2), the block's own first.
        fresh: (N, K) bool, which may be voted for: the first ones.
        alone: (N, 2), a rival that only the block itself found, or its own answer.
        residual: (N, K, 16).
        texture: (N, 16).
        noise: (N, 16).
        formula: (4,), logarithms of the sharpness, the bonus of the own one, the dullness, and of
            what a rival is behind.
        dear: What the logarithm of 1 + the length of a displacement costs.
        first: Weights (H, 6) and biases (H,): of the residual, of how far it and the block's mean
            are above the own one's, of texture, of noise, and of being the own one.
        last: Weights (1, H) and bias (1,), of the rectified units.
        share: (N, K), written.
    """
    weight0, bias0, weight1 = first[0].T.copy(), first[1], last[0][0]
    units = len(bias0)
    known = np.empty(units, float32)
    vote = np.empty(offered.shape[1], float32)
    whole = np.empty(offered.shape[1], float32)
    price = np.empty(offered.shape[1], float32)
    sharpness, bonus, dull, behind = np.exp(formula)
    for n in range(len(offered)):
        share[n] = 0
        count = count_fresh(fresh[n])
        if count == 1:
            share[n, 0] = 1
            continue
        for k in range(count):
            whole[k] = residual[n, k].mean()
            length = np.sqrt(offered[n, k, 0] ** 2 + offered[n, k, 1] ** 2)
            price[k] = dear * np.log1p(length)
            lone = offered[n, k, 0] == alone[n, 0] and offered[n, k, 1] == alone[n, 1]
            if k and lone:  # the first one is the block's own
                price[k] += behind
        for cell in range(residual.shape[2]):
            own = residual[n, 0, cell]
            for h in range(units):
                known[h] = bias0[h] + weight0[3, h] * texture[n, cell]
                known[h] += weight0[4, h] * noise[n, cell]
            most = float32(-np.inf)
            for k in range(count):
                left, mine = residual[n, k, cell], float32(k == 0)
                above, farther = left - own, whole[k] - whole[0]
                vote[k] = last[1][0] + bonus * mine - price[k]
                vote[k] -= sharpness / (float32(1) + dull * noise[n, cell]) * left
                for h in range(units):
                    unit = known[h] + weight0[0, h] * left + weight0[1, h] * above
                    unit += weight0[2, h] * farther + weight0[5, h] * mine
                    vote[k] += max(unit, float32(0)) * weight1[h]
                most = max(most, vote[k])
            total = float32(0)
            for k in range(count):
                vote[k] = np.exp(vote[k] - most)
                total += vote[k]
            for k in range(count):
                share[n, k] += vote[k] / (total * float32(residual.shape[2]))


@kernel
def draw_together(answer, held, firm, voice, reach, tied, rounds, found):
    """Draw the answers of neighbours together.

    Args:
        answer: (B, R, C, 2).
        held: (N, 3), by what an answer is held: a symmetric matrix xx, xy, yy.
        firm: (N, 2), what a neighbour counts, and what lies between two opposite ones.
        voice: (N,), of each block; between two it is their product.
        reach: (2,), pixels at which a neighbour counts a quarter, and what lies between.
        tied: By what answers are held at least.
        rounds: How many; in each all blocks move at once.
        found: (B, R, C, 2), written.
    """
    rows, columns = answer.shape[1:3]
    near, span = 1 / reach**2
    half = float32(0.5)
    for b in range(len(answer)):
        before = answer[b].copy()
        for _ in range(rounds):
            for block in range(rows * columns):
                r, c = divmod(block, columns)
                n = b * rows * columns + block
                x0, y0 = answer[b, r, c, 0], answer[b, r, c, 1]
                x, y = before[r, c, 0], before[r, c, 1]
                total, by_x, by_y = tied, float32(0), float32(0)
                for i in range(8):
                    down, right = OPPOSITE[i]
                    inside = 0 <= r + down < rows and 0 <= c + right < columns
                    one = n + down * columns + right
                    if i < 4 and inside:
                        there_x, there_y = before[r + down, c + right]
                        pull = firm[n, 0] * voice[one] * _near(there_x - x, there_y - y, near)
                        total += pull
                        by_x += pull * (there_x - x0)
                        by_y += pull * (there_y - y0)
                    beside = 0 <= r - down < rows and 0 <= c - right < columns
                    if i % 2 == 0 and inside and beside:
                        there_x = half * (
                            before[r + down, c + right, 0] + before[r - down, c - right, 0]
                        )
                        there_y = half * (
                            before[r + down, c + right, 1] + before[r - down, c - right, 1]
                        )
                        pull = firm[n, 1] * voice[one] * voice[n - down * columns - right]
                        pull *= _near(there_x - x, there_y - y, span)
                        total += pull
                        by_x += pull * (there_x - x0)
                        by_y += pull * (there_y - y0)
                xx, xy, yy = held[n]
                whole = max(xx * yy - xy * xy, float32(0)) + total * (xx + yy + total)
                xx, yy = xx + total, yy + total
                found[b, r, c, 0] = x0 + (yy * by_x - xy * by_y) / whole
                found[b, r, c, 1] = y0 + (xx * by_y - xy * by_x) / whole
            before[:] = found[b]


@helper
def _near(x, y, squared):
    """Return Geman and McClure's weight of something so far off."""
    near = float32(1) / (float32(1) + (x * x + y * y) * squared)
    return near * near
