"""Which displacements a block considers, which of them differ, and what is made of them."""

import numpy as np
from numpy import float32

from patchmatch.kernels.compiling import helper, kernel


@kernel
def offer_candidates(candidates, everywhere, eight, apart, offered):
    """Offer each block its own candidates, none, the common one and its neighbours' best.

    Those that are apart come first, in this order, and then those that repeat one before them.

    Args:
        candidates: (B, R, C, K, 2), displacements, the best first.
        everywhere: (B, 2), the common one.
        eight: Whether the common one and all eight neighbours are asked, or four neighbours alone.
        apart: How far from each other, in x or in y, two must be.
        offered: (B R C, M, 2), written; M is at most K + 5, or K + 10.
    """
    rows, columns, count = candidates.shape[1:4]
    found = np.zeros((count + 10, 2), float32)
    order = np.arange(count + 10)
    for n in range(len(offered)):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        for k in range(count):
            found[k, 0], found[k, 1] = candidates[b, r, c, k, 0], candidates[b, r, c, k, 1]
        found[count, 0], found[count, 1] = 0, 0
        size = count + 1
        if eight:
            found[size, 0], found[size, 1] = everywhere[b, 0], everywhere[b, 1]
            size += 1
        for place in range(9):
            down, right = place // 3 - 1, place % 3 - 1
            steps = abs(down) + abs(right)
            if steps == 1 or (eight and steps == 2):
                row, column = min(max(r + down, 0), rows - 1), min(max(c + right, 0), columns - 1)
                found[size, 0] = candidates[b, row, column, 0, 0]
                found[size, 1] = candidates[b, row, column, 0, 1]
                size += 1
        _keep(found, order, size, apart, offered[n])


@kernel
def keep_likeliest(candidates, logits, apart, kept):
    """Keep the likeliest candidates that are apart, the best first.

    Args:
        candidates: (N, K, 2), displacements.
        logits: (N, K); among equal ones the first comes first.
        apart: How far from each other, in x or in y, two must be.
        kept: (N, M, 2), written; M is at most K.
    """
    order = np.empty(candidates.shape[1], np.int64)
    for n in range(len(candidates)):
        for k in range(len(order)):
            place = k
            while place > 0 and logits[n, order[place - 1]] < logits[n, k]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = k
        _keep(candidates[n], order, len(order), apart, kept[n])


@kernel
def settle_candidates(offered, logits, best, reach, steps, softening, answer):
    """Find the geometric median of what is possible, by Weiszfeld's iteration.

    The refined best candidate stands for all those close to the one it came from.

    Args:
        offered: (N, K, 2), displacements.
        logits: (N, K), of their probabilities.
        best: (N, 2), the likeliest after its refinement.
        reach: Pixels within which it stands for others.
        steps: Iterations.
        softening: Pixels added to every distance.
        answer: (N, 2), written.
    """
    count = offered.shape[1]
    x = np.empty(count, float32)
    y = np.empty(count, float32)
    weight = np.empty(count, float32)
    for n in range(len(offered)):
        top = np.argmax(logits[n])
        for k in range(count):
            weight[k] = np.exp(logits[n, k] - logits[n, top])
        for k in range(count):
            x[k], y[k] = offered[n, k, 0], offered[n, k, 1]
            apart_x, apart_y = x[k] - offered[n, top, 0], y[k] - offered[n, top, 1]
            if np.sqrt(apart_x * apart_x + apart_y * apart_y) < reach:
                x[k], y[k] = best[n, 0], best[n, 1]
        here_x, here_y = best[n, 0], best[n, 1]
        for _ in range(steps):
            by_x, by_y, total = float32(0), float32(0), float32(0)
            for k in range(count):
                apart_x, apart_y = x[k] - here_x, y[k] - here_y
                distance = np.sqrt(apart_x * apart_x + apart_y * apart_y) + softening
                share = weight[k] / distance
                by_x += share * x[k]
                by_y += share * y[k]
                total += share
            total = max(total, float32(1e-9))
            here_x, here_y = by_x / total, by_y / total
        answer[n, 0], answer[n, 1] = here_x, here_y


@helper
def _keep(candidates, order, size, apart, kept):
    """Write the first candidates that are apart in some order, and then repeated ones."""
    found = 0
    for turn in range(2):
        for k in range(size):
            one = order[k]
            repeated = 0
            for j in range(k):
                x = abs(candidates[one, 0] - candidates[order[j], 0])
                y = abs(candidates[one, 1] - candidates[order[j], 1])
                if max(x, y) < apart:
                    repeated = 1
            if repeated == turn and found < len(kept):
                kept[found, 0], kept[found, 1] = candidates[one, 0], candidates[one, 1]
                found += 1
