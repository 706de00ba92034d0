"""Compiled voting and regulariser.

Blocks are numbered row by row over all frames; N = B R C.
"""

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.compilation import jit, kernel
from patchmatch.motion.kernels.grid import count_unique

#: (row, column) relative to a block, opposite neighbours in pairs
OPPOSITE = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1))


@kernel
def count_votes(
    candidates, unique, unsupported, residual, texture, noise, formula, length_penalty, first,
    last, share,
):  # fmt: skip
    """Write the share of the subwindows of each block that vote for each candidate.

    Args:
        candidates: (N, K, 2), the own displacement first.
        unique: (N, K) bool, candidates that receive votes, the first ones.
        unsupported: (N, 2), a runner-up that no neighbour has, else the own displacement.
        residual: (N, K, 16).
        texture: (N, 16).
        noise: (N, 16).
        formula: (4,), logarithms of sharpness, bonus of the own displacement, damping by noise,
            and penalty of an unsupported runner-up.
        length_penalty: Factor of log(1 + length).
        first: Weights (H, 6) and biases (H,) of the inputs that ``consensus_steps.vote_shares``
            lists.
        last: Weights (1, H) and bias (1,) of the output.
        share: (N, K), written.
    """
    weight0, bias0, weight1 = first[0].T.copy(), first[1], last[0][0]
    units, count = len(bias0), candidates.shape[1]
    of_subwindow = np.empty(units, float32)
    vote, mean, penalty = (
        np.empty(count, float32),
        np.empty(count, float32),
        np.empty(count, float32),
    )
    sharpness, bonus, noise_damping, runner_up_penalty = np.exp(formula)
    for n in range(len(candidates)):
        share[n] = 0
        count = count_unique(unique[n])
        if count == 1:
            share[n, 0] = 1
            continue
        for k in range(count):
            mean[k] = residual[n, k].mean()
            x, y = candidates[n, k, 0], candidates[n, k, 1]
            penalty[k] = length_penalty * np.log1p(np.sqrt(x**2 + y**2))
            if k and x == unsupported[n, 0] and y == unsupported[n, 1]:
                penalty[k] += runner_up_penalty
        for subwindow in range(residual.shape[2]):
            own = residual[n, 0, subwindow]
            for h in range(units):
                of_subwindow[h] = bias0[h] + weight0[3, h] * texture[n, subwindow]
                of_subwindow[h] += weight0[4, h] * noise[n, subwindow]
            largest = float32(-np.inf)
            for k in range(count):
                value, is_own = residual[n, k, subwindow], float32(k == 0)
                above, mean_above = value - own, mean[k] - mean[0]
                vote[k] = last[1][0] + bonus * is_own - penalty[k]
                vote[k] -= sharpness / (float32(1) + noise_damping * noise[n, subwindow]) * value
                for h in range(units):
                    unit = of_subwindow[h] + weight0[0, h] * value + weight0[1, h] * above
                    unit += weight0[2, h] * mean_above + weight0[5, h] * is_own
                    vote[k] += max(unit, float32(0)) * weight1[h]
                largest = max(largest, vote[k])
            total = float32(0)
            for k in range(count):
                vote[k] = np.exp(vote[k] - largest)
                total += vote[k]
            for k in range(count):
                share[n, k] += vote[k] / (total * float32(residual.shape[2]))


@kernel
def regularise(
    displacement, data_term, pairwise_weight, confidence, scale, min_weight, iterations, found
):
    """Smooth displacements by iteratively reweighted least squares.

    Args:
        displacement: (B, R, C, 2).
        data_term: (N, 3), symmetric matrix xx, xy, yy that holds a displacement at its value.
        pairwise_weight: (N, 2), weights of a neighbour, and of the mean of two opposite ones.
        confidence: (N,), of each block; the weight of a mean is multiplied by both confidences.
        scale: (2,), pixels at which the weights of a neighbour and of a mean fall to a quarter.
        min_weight: Weight of the own displacement, at least.
        iterations: Number of iterations; all blocks move at once.
        found: (B, R, C, 2), written.
    """
    rows, columns = displacement.shape[1:3]
    first_factor, second_factor = 1 / scale**2
    half = float32(0.5)
    for b in range(len(displacement)):
        before = displacement[b].copy()
        for _ in range(iterations):
            for block in range(rows * columns):
                r, c = divmod(block, columns)
                n = b * rows * columns + block
                x0, y0 = displacement[b, r, c, 0], displacement[b, r, c, 1]
                x, y = before[r, c, 0], before[r, c, 1]
                total, sum_x, sum_y = min_weight, float32(0), float32(0)
                for i in range(8):
                    down, right = OPPOSITE[i]
                    one, other = n + down * columns + right, n - down * columns - right
                    inside = 0 <= r + down < rows and 0 <= c + right < columns
                    if i < 4 and inside:
                        target_x, target_y = before[r + down, c + right]
                        weight = pairwise_weight[n, 0] * confidence[one]
                        weight *= _geman_mcclure(target_x - x, target_y - y, first_factor)
                        total += weight
                        sum_x += weight * (target_x - x0)
                        sum_y += weight * (target_y - y0)
                    opposite_inside = 0 <= r - down < rows and 0 <= c - right < columns
                    if i % 2 == 0 and inside and opposite_inside:
                        x1, y1 = before[r + down, c + right]
                        x2, y2 = before[r - down, c - right]
                        target_x, target_y = half * (x1 + x2), half * (y1 + y2)
                        weight = pairwise_weight[n, 1] * confidence[one] * confidence[other]
                        weight *= _geman_mcclure(target_x - x, target_y - y, second_factor)
                        total += weight
                        sum_x += weight * (target_x - x0)
                        sum_y += weight * (target_y - y0)
                xx, xy, yy = data_term[n]
                determinant = max(xx * yy - xy * xy, float32(0)) + total * (xx + yy + total)
                xx, yy = xx + total, yy + total
                found[b, r, c, 0] = x0 + (yy * sum_x - xy * sum_y) / determinant
                found[b, r, c, 1] = y0 + (xx * sum_y - xy * sum_x) / determinant
            before[:] = found[b]


@jit
def _geman_mcclure(x, y, factor):
    """Return the weight of Geman and McClure; ``factor`` is one over the squared scale."""
    root = float32(1) / (float32(1) + (x * x + y * y) * factor)
    return root * root
