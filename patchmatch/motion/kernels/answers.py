"""Compiled voting and smoothing of estimates.

Estimates are numbered row by row over all frames; N = B R C.
"""

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.blocks import count_fresh, place_of, start_of
from patchmatch.motion.kernels.compiling import helper
from patchmatch.motion.kernels.team import divided

# of the 3x3 square around a block, opposite ones one after the other
OPPOSITE = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1))


@helper
def cell_ballot(
    team, offered, fresh, alone, residual, texture, noise, formula, dear, never, first, last, share,
    logits,
):  # fmt: skip
    """Tell which share of a block's cells votes for each displacement.

    Args:
        team: As ``join`` returns it.
        offered: (N, K, 2), the block's own first.
        fresh: (N, K) bool, which may be voted for: the first ones.
        alone: (N, 2), a rival that only the block itself found, or its own answer.
        residual: (N, K, 16).
        texture: (N, 16).
        noise: (N, 16).
        formula: (4,), logarithms of the sharpness, the bonus of the own one, the dullness, and of
            what a rival is behind.
        dear: What the logarithm of 1 + the length of a displacement costs.
        never: Added to a share before its logarithm.
        first: Weights (H, 6) and biases (H,): of the residual, of how far it and the block's mean
            are above the own one's, of texture, of noise, and of being the own one.
        last: Weights (1, H) and bias (1,), of the rectified units.
        share: (N, K), written.
        logits: (N, K), written: their logarithms.
    """
    weight0, bias0, weight1 = first[0].T.copy(), first[1], last[0][0]
    units = len(bias0)
    known = np.empty(units, float32)
    vote = np.empty(offered.shape[1], float32)
    whole = np.empty(offered.shape[1], float32)
    price = np.empty(offered.shape[1], float32)
    sharpness, bonus, dull, behind = np.exp(formula)
    for n in divided(team, len(offered)):
        share[n] = 0
        logits[n] = np.log(never)
        count = count_fresh(fresh[n])
        if count == 1:
            share[n, 0], logits[n, 0] = 1, 0
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
        for k in range(count):
            logits[n, k] = np.log(share[n, k] + never)


@helper
def weigh_answers(team, tensor, evidence, formula, rough, first, last, held, firm, voice):
    """Tell how firmly answers are held and drawn, as ``nets.answers.Smoother`` does.

    Args:
        team: As ``join`` returns it.
        tensor: (N, 16, 3), each cell's means of the gradients' products xx, xy and yy.
        evidence: (N, 13), as ``answer_evidence`` and ``place_evidence`` write it.
        formula: (4,), logarithms of the firmness of neighbours and of what lies between, and of
            their reaches.
        rough: Local standard deviations that no displacement explains.
        first: Weights (H, 13) and biases (H,).
        last: Weights (4, H) and biases (4,), of the rectified units: how firmly a block is held,
            drawn by its neighbours and by what lies between, and how much it has to say.
        held: (N, 3), written, as ``draw_together`` takes it.
        firm: (N, 2), written, likewise.
        voice: (N,), written, likewise.
    """
    near, between = np.exp(formula[0]), np.exp(formula[1])
    said = np.empty(4, float32)
    for n in divided(team, len(evidence)):
        said[:] = last[1]
        for h in range(len(first[1])):
            unit = first[1][h]
            for i in range(evidence.shape[1]):
                unit += first[0][h, i] * evidence[n, i]
            for i in range(4):
                said[i] += last[0][i, h] * max(unit, float32(0))
        for i in range(4):
            said[i] = np.exp(min(max(said[i], float32(-6)), float32(6)))
        left = max(evidence[n, 0], float32(0)) + evidence[n, 4] + rough
        for i in range(3):
            mean = float32(0)
            for cell in range(tensor.shape[1]):
                mean += tensor[n, cell, i]
            held[n, i] = mean / float32(tensor.shape[1]) * said[0] / (left * left)
        firm[n, 0], firm[n, 1], voice[n] = said[1] * near, said[2] * between, said[3]


@helper
def draw_together(team, answer, held, firm, voice, formula, tied, rounds, found):
    """Draw the answers of neighbours together.

    Args:
        team: As ``join`` returns it.
        answer: (B, R, C, 2).
        held: (N, 3), by what an answer is held: a symmetric matrix xx, xy, yy.
        firm: (N, 2), what a neighbour counts, and what lies between two opposite ones.
        voice: (N,), of each block; between two it is their product.
        formula: As that of ``weigh_answers``: of the pixels at which a neighbour counts a quarter,
            and what lies between.
        tied: By what answers are held at least.
        rounds: How many; in each all blocks move at once.
        found: (B, R, C, 2), written.
    """
    rows, columns = answer.shape[1:3]
    near, span = np.exp(float32(-2) * formula[2]), np.exp(float32(-2) * formula[3])
    half = float32(0.5)
    for b in divided(team, len(answer), 1):
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
def answer_evidence(team, residual, at_rest, texture, noise, offered, belief, answer, evidence):
    """Tell a right answer from a wrong one, as ``nets.evidence.answer_evidence`` does.

    Args:
        team: As ``join`` returns it.
        residual: (N, 1, 16), in each cell under the answer.
        at_rest: (N, _, 16), of the first candidate, which is rest.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        noise: (N, 16), standard deviation of the noise in each cell.
        offered: (N, K, 2), displacements.
        belief: (N, K), their probabilities.
        answer: (B, R, C, 2), the displacements that were settled on.
        evidence: (N, 13), of which the first ten numbers are written.
    """
    rows, columns = answer.shape[1:3]
    for n in divided(team, len(evidence)):
        b, r, c = place_of(n, rows, columns)
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
        evidence[n, 3] = _mean(at_rest[n, 0]) - mean
        evidence[n, 4] = _mean(noise[n])
        evidence[n, 5] = _mean(texture[n])
        evidence[n, 6] = texture[n].max()
        evidence[n, 7] = np.log(float32(1) + spread)
        evidence[n, 8] = near
        evidence[n, 9] = np.log(float32(1) + unlike * float32(0.25))


@helper
def place_evidence(team, answer, block, height, width, evidence):
    """Tell whether blocks can be seen where they go, as ``nets.evidence.place_evidence`` does.

    Args:
        team: As ``join`` returns it.
        answer: (B, R, C, 2), displacements.
        block: Side of a block in pixels.
        height: Of the frame.
        width: Of the frame.
        evidence: (N, 13), the first is the mean residual; the last three are written.
    """
    rows, columns = answer.shape[1:3]
    side, none = float32(block), float32(0)
    for n in divided(team, len(evidence)):
        b, r, c = place_of(n, rows, columns)
        left, top = c * side + answer[b, r, c, 0], r * side + answer[b, r, c, 1]
        x = float32(start_of(c, width, block)) + answer[b, r, c, 0]
        y = float32(start_of(r, height, block)) + answer[b, r, c, 1]
        across = max(min(x + side, float32(width)) - max(x, none), none)
        down = max(min(y + side, float32(height)) - max(y, none), none)
        most, best = none, none
        for row in range(max(r - 1, 0), min(r + 2, rows)):
            for column in range(max(c - 1, 0), min(c + 2, columns)):
                if row != r or column != c:
                    x = abs(column * side + answer[b, row, column, 0] - left)
                    y = abs(row * side + answer[b, row, column, 1] - top)
                    shared = max(float32(1) - x / side, none) * max(float32(1) - y / side, none)
                    most = max(most, shared)
                    other = (b * rows + row) * columns + column
                    better = shared * (evidence[n, 0] - evidence[other, 0])
                    best = max(best, better)
        evidence[n, 10], evidence[n, 11] = across * down / (side * side), most
        evidence[n, 12] = best


@helper
def _mean(values):
    """Return the mean of a row."""
    total = float32(0)
    for value in values:
        total += value
    return total / float32(len(values))


@helper
def _near(x, y, squared):
    """Return Geman and McClure's weight of something so far off."""
    near = float32(1) / (float32(1) + (x * x + y * y) * squared)
    return near * near
