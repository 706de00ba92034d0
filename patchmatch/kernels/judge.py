"""What a judge sees in the cells of a window, and what blocks say to their neighbours."""

import numpy as np
from numpy import float32

from patchmatch.kernels.compiling import helper, kernel


@kernel
def cell_votes(residual, texture, noise, weight, bias, votes):
    """Compute a layer of rectified units in every cell, and their means over the cells.

    Args:
        residual: (N, K, 16), of each candidate in each cell.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        noise: (N, 16), standard deviation of the noise in each cell.
        weight: (4, H), what the units make of a residual, of how far it is above the least one,
            of the texture and of the noise.
        bias: (H,).
        votes: (N, K, H), written.
    """
    count, cells = residual.shape[1:]
    units = len(bias)
    above = np.empty(units, float32)
    for n in range(len(residual)):
        votes[n] = 0
        for cell in range(cells):
            least = residual[n, 0, cell]
            for k in range(1, count):
                least = min(least, residual[n, k, cell])
            for h in range(units):
                known = bias[h] + texture[n, cell] * weight[2, h] + noise[n, cell] * weight[3, h]
                above[h] = known - least * weight[1, h]
            for k in range(count):
                value = residual[n, k, cell]
                for h in range(units):
                    unit = value * (weight[0, h] + weight[1, h]) + above[h]
                    votes[n, k, h] += max(unit, float32(0))
        for k in range(count):
            for h in range(units):
                votes[n, k, h] /= float32(cells)


@kernel
def regard_candidates(candidates, middle, residual, texture, noise, scale, regarded):
    """Tell what a whole block knows of each candidate, as ``motion_steps.regard`` does.

    Args:
        candidates: (B, N, K, 2), displacements.
        middle: (B, 2), the common one.
        residual: (B N, K, 16), of each candidate in each cell.
        texture: (B N, 16), logarithm of each cell's root mean square gradient.
        noise: (B N, 16), standard deviation of the noise in each cell.
        scale: Pixels of the frame in a pixel.
        regarded: (B N, K, 5), written.
    """
    blocks, count = candidates.shape[1:3]
    lengths = np.empty((2, count), float32)
    for n in range(len(regarded)):
        b, block = divmod(n, blocks)
        for k in range(count):
            x, y = candidates[b, block, k, 0], candidates[b, block, k, 1]
            lengths[0, k] = x * x + y * y
            x, y = x - middle[b, 0], y - middle[b, 1]
            lengths[1, k] = x * x + y * y
        rough, loud = _mean(texture[n]), _mean(noise[n])
        for k in range(count):
            regarded[n, k, 0] = _mean(residual[n, k])
            regarded[n, k, 1] = rough
            regarded[n, k, 2] = loud
            regarded[n, k, 3] = np.log(float32(1) + scale * np.sqrt(lengths[0, k]))
            regarded[n, k, 4] = np.log(float32(1) + scale * np.sqrt(lengths[1, k]))


@kernel
def answer_evidence(residual, texture, noise, offered, belief, answer, evidence):
    """Tell a right answer from a wrong one, as ``motion_steps.Matching.evidence`` does.

    Args:
        residual: (N, 2, 16), in each cell under the answer and at rest.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        noise: (N, 16), standard deviation of the noise in each cell.
        offered: (N, K, 2), displacements.
        belief: (N, K), their probabilities.
        answer: (B, R, C, 2), the displacements that were settled on.
        evidence: (N, 10), written.
    """
    rows, columns = answer.shape[1:3]
    for n in range(len(evidence)):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        here_x, here_y = answer[b, r, c, 0], answer[b, r, c, 1]
        spread, near = float32(0), float32(0)
        for k in range(belief.shape[1]):
            x, y = offered[n, k, 0] - here_x, offered[n, k, 1] - here_y
            apart = np.sqrt(x * x + y * y)
            spread += belief[n, k] * apart
            near += belief[n, k] if apart < float32(1) else float32(0)
        unlike = float32(0)
        for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            row, column = min(max(r + down, 0), rows - 1), min(max(c + right, 0), columns - 1)
            x, y = answer[b, row, column, 0] - here_x, answer[b, row, column, 1] - here_y
            unlike += np.sqrt(x * x + y * y)
        mean = _mean(residual[n, 0])
        evidence[n, 0] = mean
        evidence[n, 1] = residual[n, 0].max()
        evidence[n, 2] = residual[n, 0].min()
        evidence[n, 3] = _mean(residual[n, 1]) - mean
        evidence[n, 4] = _mean(noise[n])
        evidence[n, 5] = _mean(texture[n])
        evidence[n, 6] = texture[n].max()
        evidence[n, 7] = np.log(float32(1) + spread)
        evidence[n, 8] = near
        evidence[n, 9] = np.log(float32(1) + unlike * float32(0.25))


@kernel
def neighbours_support(candidates, logits, trust, reach, least, support):
    """Tell each candidate how much the four neighbours believe in displacements near it.

    Args:
        candidates: (B, R, C, K, 2), displacements.
        logits: (B, R, C, K), of each block's probabilities.
        trust: (B, R, C), how far each block is trusted.
        reach: (M,), distances at which a displacement counts a half.
        least: Added to the neighbours' trust.
        support: (B, R, C, K, 2 M), written: by trusted neighbours, and by all alike.
    """
    rows, columns, count = candidates.shape[1:4]
    belief = np.empty_like(logits)
    for n in range(len(candidates) * rows * columns):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        _softmax(logits[b, r, c], belief[b, r, c])
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


@helper
def _mean(values):
    """Return the mean of a row."""
    total = float32(0)
    for value in values:
        total += value
    return total / float32(len(values))


@helper
def _softmax(logits, probability):
    """Write the probabilities of logits."""
    most = logits[0]
    for logit in logits:
        most = max(most, logit)
    total = float32(0)
    for k in range(len(logits)):
        probability[k] = np.exp(logits[k] - most)
        total += probability[k]
    for k in range(len(logits)):
        probability[k] /= total
