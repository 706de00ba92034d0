"""Which displacements a block considers, and what is made of them."""

import numpy as np
from numpy import float32

from patchmatch.kernels.compiling import helper, kernel


@kernel
def offer_candidates(candidates, eight, near, few, same, exact, offered, fresh, everywhere):
    """Offer each block rest, the common displacement, its own candidates, its neighbours' best.

    Those that differ come first, in this order, and then those that repeat one before them.

    Args:
        candidates: (B, R, C, K, 2), displacements, the best first.
        eight: Whether the common one and all eight neighbours are asked, or four neighbours alone.
        near: Pixels from the common one within which a block does the same.
        few: It is 0 if no larger share of the blocks does.
        same: How far from each other, in x or in y, two must be that differ.
        exact: How far if one of them is rest or the common one.
        offered: (B R C, M, 2), written; M is at most K + 5, or K + 10.
        fresh: (B R C, M) bool, written: which of them repeat no other one.
        everywhere: (B, 2), written: the common one.
    """
    rows, columns, count = candidates.shape[1:4]
    _common(candidates, near, few, everywhere)
    found = np.zeros((count + 10, 2), float32)
    repeated = np.empty(count + 10, np.bool_)
    limits = np.full(count + 10, same, float32)
    limits[0] = exact
    if eight:
        limits[1] = exact
    for n in range(len(offered)):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        size = 1
        if eight:
            found[1, 0], found[1, 1] = everywhere[b, 0], everywhere[b, 1]
            size = 2
        for k in range(count):
            found[size, 0], found[size, 1] = candidates[b, r, c, k, 0], candidates[b, r, c, k, 1]
            size += 1
        for place in range(9):
            down, right = place // 3 - 1, place % 3 - 1
            steps = abs(down) + abs(right)
            if steps == 1 or (eight and steps == 2):
                row, column = min(max(r + down, 0), rows - 1), min(max(c + right, 0), columns - 1)
                found[size, 0] = candidates[b, row, column, 0, 0]
                found[size, 1] = candidates[b, row, column, 0, 1]
                size += 1
        _differing_first(found, size, limits, repeated, offered[n], fresh[n])


@kernel
def take_rivals(candidates, logits, apart, unlikely, chosen):
    """Write the likeliest candidate of each block and the likeliest of those apart from it.

    Args:
        candidates: (N, K, 2), displacements.
        logits: (N, K), of their probabilities.
        apart: Pixels from the likeliest, beyond which one is its rival.
        unlikely: By how much its logit may be lower; else the likeliest stands there again.
        chosen: (N, 2, 2), written.
    """
    for n in range(len(chosen)):
        top = np.argmax(logits[n])
        second, most = top, logits[n, top] - unlikely
        for k in range(logits.shape[1]):
            if logits[n, k] >= most:
                x = candidates[n, k, 0] - candidates[n, top, 0]
                y = candidates[n, k, 1] - candidates[n, top, 1]
                if np.sqrt(x * x + y * y) > apart and (second == top or logits[n, k] > most):
                    second, most = k, logits[n, k]
        chosen[n, 0], chosen[n, 1] = candidates[n, top], candidates[n, second]


@kernel
def settle_candidates(offered, logits, best, reach, steps, softening, answer):
    """Find the geometric median of what is possible, by Weiszfeld's iteration.

    The refined best candidate stands for all those close to the one it came from.

    Args:
        offered: (N, K, 2), displacements.
        logits: (N, K), of their probabilities.
        best: (N, 2), the likeliest after its refinement, or (0, 2) if it stayed what it was.
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
        chosen_x, chosen_y = best[n] if len(best) else offered[n, top]
        for k in range(count):
            weight[k] = np.exp(logits[n, k] - logits[n, top])
        for k in range(count):
            x[k], y[k] = offered[n, k, 0], offered[n, k, 1]
            apart_x, apart_y = x[k] - offered[n, top, 0], y[k] - offered[n, top, 1]
            if np.sqrt(apart_x * apart_x + apart_y * apart_y) < reach:
                x[k], y[k] = chosen_x, chosen_y
        here_x, here_y = chosen_x, chosen_y
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


@kernel
def gather_answers(answer, apart, rival, offered, fresh):
    """Write each block's answer, the neighbours' and its rival, those first that repeat no other.

    Args:
        answer: (B, R, C, 2); beyond the border the border's own.
        apart: Pixels, in x or in y, from which on two answers differ.
        rival: (N, 2), what else a block may do; the block's own is written where others found it.
        offered: (N, 10, 2), written; where others are repeated, the block's own.
        fresh: (N, 10) bool, written: which of them are not.
    """
    rows, columns = answer.shape[1:3]
    seen = np.empty((10, 2), float32)
    for n in range(len(offered)):
        b, rest = divmod(n, rows * columns)
        r, c = divmod(rest, columns)
        x, y = answer[b, r, c, 0], answer[b, r, c, 1]
        offered[n, :, 0], offered[n, :, 1] = x, y
        fresh[n] = False
        fresh[n, 0] = True
        found = 1
        seen[0, 0], seen[0, 1] = x, y
        many = 1
        for i in range(10):
            if i == 4:
                continue
            if i == 9:
                x, y = rival[n, 0], rival[n, 1]
            else:
                row, column = min(max(r + i // 3 - 1, 0), rows - 1), c + i % 3 - 1
                column = min(max(column, 0), columns - 1)
                x, y = answer[b, row, column, 0], answer[b, row, column, 1]
            new = True
            for k in range(many):
                near = max(abs(x - seen[k, 0]), abs(y - seen[k, 1])) < apart
                new = new and not near
            seen[many, 0], seen[many, 1] = x, y
            many += 1
            if new:
                offered[n, found, 0], offered[n, found, 1] = x, y
                fresh[n, found] = True
                found += 1
            elif i == 9:
                rival[n, 0], rival[n, 1] = offered[n, 0, 0], offered[n, 0, 1]


@helper
def _common(candidates, near, few, everywhere):
    """Write the median of the first candidates of all blocks, the lower one of two."""
    rows, columns = candidates.shape[1:3]
    blocks = rows * columns
    x, y = np.empty(blocks, float32), np.empty(blocks, float32)
    for b in range(len(candidates)):
        for n in range(blocks):
            r, c = divmod(n, columns)
            x[n], y[n] = candidates[b, r, c, 0, 0], candidates[b, r, c, 0, 1]
        middle = (blocks - 1) // 2
        there_x, there_y = np.partition(x, middle)[middle], np.partition(y, middle)[middle]
        close = 0
        for n in range(blocks):
            apart_x, apart_y = x[n] - there_x, y[n] - there_y
            close += np.sqrt(apart_x * apart_x + apart_y * apart_y) < near
        most = float32(close) > few * float32(blocks)
        everywhere[b, 0] = there_x if most else float32(0)
        everywhere[b, 1] = there_y if most else float32(0)


@helper
def _differing_first(candidates, size, limits, repeated, offered, fresh):
    """Write the first candidates that differ from those before them, then others."""
    found = 0
    for k in range(size):
        repeated[k] = False
        for j in range(k):
            x = abs(candidates[k, 0] - candidates[j, 0])
            y = abs(candidates[k, 1] - candidates[j, 1])
            if max(x, y) < min(limits[k], limits[j]):
                repeated[k] = True
    for again in (False, True):
        for k in range(size):
            if repeated[k] == again and found < len(offered):
                offered[found, 0], offered[found, 1] = candidates[k, 0], candidates[k, 1]
                fresh[found] = not again
                found += 1
