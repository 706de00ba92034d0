"""Compiled selection of candidate displacements.

Blocks are numbered row by row over all frames; N = B R C.
"""

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.compilation import jit, kernel
from patchmatch.motion.kernels.grid import block_position

WITH_FOUR, WITH_EIGHT = 5, 10  # proposed candidates beside the own ones
VOTING_CANDIDATES = 10  # the own displacement, those of eight neighbours, and the runner-up


@kernel
def dominant_motion(candidates, distance, min_share, dominant):
    """Write the median of the first candidates of all blocks of a frame, the lower one of two.

    Args:
        candidates: (B, R, C, K, 2), in pixels of the level.
        distance: Pixels from the median within which a block shares it.
        min_share: The result is 0 if fewer blocks share the median.
        dominant: (B, 2), written.
    """
    rows, columns = candidates.shape[1:3]
    blocks = rows * columns
    x, y = np.empty(blocks, float32), np.empty(blocks, float32)
    for b in range(len(candidates)):
        for n in range(blocks):
            r, c = divmod(n, columns)
            x[n], y[n] = candidates[b, r, c, 0, 0], candidates[b, r, c, 0, 1]
        middle = (blocks - 1) // 2
        median_x, median_y = np.sort(x)[middle], np.sort(y)[middle]
        near = 0
        for n in range(blocks):
            dx, dy = x[n] - median_x, y[n] - median_y
            near += np.sqrt(dx * dx + dy * dy) < distance
        is_shared = float32(near) > min_share * float32(blocks)
        dominant[b, 0] = median_x if is_shared else float32(0)
        dominant[b, 1] = median_y if is_shared else float32(0)


@kernel
def propose_candidates(candidates, dominant, eight, distance, exact_distance, proposed, unique):
    """Write zero motion, dominant motion, own candidates and the best ones of the neighbours.

    Unique candidates come first, in this order, then duplicates.

    Args:
        candidates: (B, R, C, K, 2), the own candidates, the best first.
        dominant: (B, 2), dominant motion.
        eight: True for the dominant motion and all eight neighbours, False for four neighbours.
        distance: Candidates that differ by less in x and y are duplicates.
        exact_distance: The same if one of them is zero or dominant motion.
        proposed: (N, M, 2), written; M is at most K + 5, or K + 10 with eight neighbours.
        unique: (N, M) bool, written.
    """
    rows, columns, count = candidates.shape[1:4]
    found = np.zeros((count + WITH_EIGHT, 2), float32)
    is_duplicate = np.empty(count + WITH_EIGHT, np.bool_)
    limits = np.full(count + WITH_EIGHT, distance, float32)
    limits[0] = exact_distance
    if eight:
        limits[1] = exact_distance
    for n in range(len(proposed)):
        b, r, c = block_position(n, rows, columns)
        size = 1
        if eight:
            found[1, 0], found[1, 1] = dominant[b, 0], dominant[b, 1]
            size = 2
        for k in range(count):
            found[size, 0], found[size, 1] = candidates[b, r, c, k, 0], candidates[b, r, c, k, 1]
            size += 1
        for i in range(9):
            down, right = i // 3 - 1, i % 3 - 1
            steps = abs(down) + abs(right)
            if steps == 1 or (eight and steps == 2):
                row, column = min(max(r + down, 0), rows - 1), min(max(c + right, 0), columns - 1)
                found[size, 0] = candidates[b, row, column, 0, 0]
                found[size, 1] = candidates[b, row, column, 0, 1]
                size += 1
        _write_unique_first(found, size, limits, is_duplicate, proposed[n], unique[n])


@kernel
def geometric_medians(candidates, logits, best, merge_distance, steps, softening, median):
    """Write the geometric median of the candidates of each block, by Weiszfeld's iteration.

    Args:
        candidates: (N, K, 2), in pixels.
        logits: (N, K), of their probabilities.
        best: (N, _, 2), first the refined best candidate, which replaces those near the best;
            (0, _, 2) for the best candidate itself.
        merge_distance: Pixels within which candidates are replaced.
        steps: Number of iterations.
        softening: Pixels added to every distance.
        median: (N, 2), written.
    """
    count = candidates.shape[1]
    x = np.empty(count, float32)
    y = np.empty(count, float32)
    weight = np.empty(count, float32)
    for n in range(len(candidates)):
        top = np.argmax(logits[n])
        best_x, best_y = candidates[n, top]
        if len(best):
            best_x, best_y = best[n, 0]
        for k in range(count):
            weight[k] = np.exp(logits[n, k] - logits[n, top])
        for k in range(count):
            x[k], y[k] = candidates[n, k, 0], candidates[n, k, 1]
            dx, dy = x[k] - candidates[n, top, 0], y[k] - candidates[n, top, 1]
            if np.sqrt(dx * dx + dy * dy) < merge_distance:
                x[k], y[k] = best_x, best_y
        median_x, median_y = best_x, best_y
        for _ in range(steps):
            sum_x, sum_y, total = float32(0), float32(0), float32(0)
            for k in range(count):
                dx, dy = x[k] - median_x, y[k] - median_y
                share = weight[k] / (np.sqrt(dx * dx + dy * dy) + softening)
                sum_x += share * x[k]
                sum_y += share * y[k]
                total += share
            total = max(total, float32(1e-9))
            median_x, median_y = sum_x / total, sum_y / total
        median[n, 0], median[n, 1] = median_x, median_y


@kernel
def gather_candidates(displacement, distance, runner_up, unsupported, candidates, unique):
    """Write the candidates of a vote: the own displacement, the neighbours' and the runner-up.

    Args:
        displacement: (B, R, C, 2), replicated at the border.
        distance: Candidates that differ by less in x and y are duplicates.
        runner_up: (N, 2), the second best displacement.
        unsupported: (N, 2), written: the runner-up if no neighbour has it, else the own
            displacement.
        candidates: (N, 10, 2), written: unique ones first, then the own displacement.
        unique: (N, 10) bool, written.
    """
    rows, columns = displacement.shape[1:3]
    seen = np.empty((VOTING_CANDIDATES, 2), float32)
    for n in range(len(candidates)):
        b, r, c = block_position(n, rows, columns)
        x, y = displacement[b, r, c, 0], displacement[b, r, c, 1]
        candidates[n, :, 0], candidates[n, :, 1] = x, y
        unique[n] = False
        unique[n, 0] = True
        found, count = 1, 1
        seen[0, 0], seen[0, 1] = x, y
        for i in range(VOTING_CANDIDATES):
            if i == 4:  # the block itself
                continue
            if i == 9:
                x, y = runner_up[n, 0], runner_up[n, 1]
                unsupported[n, 0], unsupported[n, 1] = x, y
            else:
                row, column = min(max(r + i // 3 - 1, 0), rows - 1), c + i % 3 - 1
                column = min(max(column, 0), columns - 1)
                x, y = displacement[b, row, column, 0], displacement[b, row, column, 1]
            is_unique = True
            for k in range(count):
                near = max(abs(x - seen[k, 0]), abs(y - seen[k, 1])) < distance
                is_unique = is_unique and not near
            seen[count, 0], seen[count, 1] = x, y
            count += 1
            if is_unique:
                candidates[n, found, 0], candidates[n, found, 1] = x, y
                unique[n, found] = True
                found += 1
            elif i == 9:
                unsupported[n, 0], unsupported[n, 1] = candidates[n, 0, 0], candidates[n, 0, 1]


@jit
def _write_unique_first(candidates, size, limits, is_duplicate, proposed, unique):
    """Write the candidates that differ from all earlier ones, then duplicates."""
    for k in range(size):
        is_duplicate[k] = False
        for j in range(k):
            x = abs(candidates[k, 0] - candidates[j, 0])
            y = abs(candidates[k, 1] - candidates[j, 1])
            if max(x, y) < min(limits[k], limits[j]):
                is_duplicate[k] = True
    found = 0
    for duplicate in (False, True):
        for k in range(size):
            if is_duplicate[k] == duplicate and found < len(proposed):
                proposed[found, 0], proposed[found, 1] = candidates[k, 0], candidates[k, 1]
                unique[found] = not duplicate
                found += 1
