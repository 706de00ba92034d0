"""Compiled selection of candidate displacements.

Blocks are numbered row by row over all frames; N = B R C.
"""

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.blocks import place_of
from patchmatch.motion.kernels.compiling import helper, kernel

AMONG_FOUR, AMONG_EIGHT = 5, 10  # candidates that are offered beside a block's own
ANSWERS = 10  # among which the cells of a block vote: its own, eight neighbours' and a rival


@kernel
def common_motion(above, near, few, everywhere):
    """Write the median of the first candidates of all blocks of a frame, the lower one of two.

    Args:
        above: (B, R, C, K, 2), displacements of the level above.
        near: Pixels from the common one within which a block does the same.
        few: It is 0 if no larger share of the blocks does.
        everywhere: (B, 2), written.
    """
    rows, columns = above.shape[1:3]
    blocks = rows * columns
    x, y = np.empty(blocks, float32), np.empty(blocks, float32)
    for b in range(len(above)):
        for n in range(blocks):
            r, c = divmod(n, columns)
            x[n], y[n] = above[b, r, c, 0, 0], above[b, r, c, 0, 1]
        middle = (blocks - 1) // 2
        there_x, there_y = np.sort(x)[middle], np.sort(y)[middle]
        close = 0
        for n in range(blocks):
            apart_x, apart_y = x[n] - there_x, y[n] - there_y
            close += np.sqrt(apart_x * apart_x + apart_y * apart_y) < near
        most = float32(close) > few * float32(blocks)
        everywhere[b, 0] = there_x if most else float32(0)
        everywhere[b, 1] = there_y if most else float32(0)


@kernel
def offer_candidates(above, everywhere, eight, same, exact, offered, fresh):
    """Offer each block rest, the common displacement, its own candidates, its neighbours' best.

    Those that differ come first, in this order, and then those that repeat one before them.

    Args:
        above: (B, R, C, K, 2), displacements of the level above, the best first.
        everywhere: (B, 2), the common one.
        eight: Whether the common one and all eight neighbours are asked, or four neighbours alone.
        same: How far from each other, in x or in y, two must be that differ.
        exact: How far if one of them is rest or the common one.
        offered: (N, M, 2), written; M is at most K + 5, or K + 10 if eight are asked.
        fresh: (N, M) bool, written: which of them repeat no other one.
    """
    rows, columns, count = above.shape[1:4]
    found = np.zeros((count + AMONG_EIGHT, 2), float32)
    repeated = np.empty(count + AMONG_EIGHT, np.bool_)
    limits = np.full(count + AMONG_EIGHT, same, float32)
    limits[0] = exact
    if eight:
        limits[1] = exact
    for n in range(len(offered)):
        b, r, c = place_of(n, rows, columns)
        size = 1
        if eight:
            found[1, 0], found[1, 1] = everywhere[b, 0], everywhere[b, 1]
            size = 2
        for k in range(count):
            found[size, 0], found[size, 1] = above[b, r, c, k, 0], above[b, r, c, k, 1]
            size += 1
        for place in range(9):
            down, right = place // 3 - 1, place % 3 - 1
            steps = abs(down) + abs(right)
            if steps == 1 or (eight and steps == 2):
                row, column = min(max(r + down, 0), rows - 1), min(max(c + right, 0), columns - 1)
                found[size, 0] = above[b, row, column, 0, 0]
                found[size, 1] = above[b, row, column, 0, 1]
                size += 1
        _differing_first(found, size, limits, repeated, offered[n], fresh[n])


@kernel
def settle_candidates(offered, logits, best, reach, steps, softening, answer):
    """Find the geometric median of what is possible, by Weiszfeld's iteration.

    The refined best candidate stands for all those close to the one it came from.

    Args:
        offered: (N, K, 2), displacements.
        logits: (N, K), of their probabilities.
        best: (N, _, 2), first the likeliest after its refinement, or (0, _, 2) if it stayed what
            it was.
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
        chosen_x, chosen_y = offered[n, top]
        if len(best):
            chosen_x, chosen_y = best[n, 0]
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
def gather_answers(answer, apart, rival, alone, offered, fresh):
    """Write each block's answer, the neighbours' and its rival, those first that repeat no other.

    Args:
        answer: (B, R, C, 2); beyond the border the border's own.
        apart: Pixels, in x or in y, from which on two answers differ.
        rival: (N, 2), what else a block may do.
        alone: (N, 2), written: that, or the block's own where others found it.
        offered: (N, 10, 2), written; where others are repeated, the block's own.
        fresh: (N, 10) bool, written: which of them are not.
    """
    rows, columns = answer.shape[1:3]
    seen = np.empty((ANSWERS, 2), float32)
    for n in range(len(offered)):
        b, r, c = place_of(n, rows, columns)
        x, y = answer[b, r, c, 0], answer[b, r, c, 1]
        offered[n, :, 0], offered[n, :, 1] = x, y
        fresh[n] = False
        fresh[n, 0] = True
        found = 1
        seen[0, 0], seen[0, 1] = x, y
        many = 1
        for i in range(ANSWERS):
            if i == 4:
                continue
            if i == 9:
                x, y = rival[n, 0], rival[n, 1]
                alone[n, 0], alone[n, 1] = x, y
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
                alone[n, 0], alone[n, 1] = offered[n, 0, 0], offered[n, 0, 1]


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
