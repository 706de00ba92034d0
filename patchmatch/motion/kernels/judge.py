"""Compiled scoring of candidates, with message passing between neighbouring blocks.

A layer with I inputs and O outputs has weights (O, I) and biases (O,). Layers are computed for the
candidates of several blocks at once, which are adjacent columns of the arrays.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.blocks import count_fresh, place_of
from patchmatch.motion.kernels.compiling import ONE, helper, kernel

TILE = 16  # blocks whose candidates are side by side: what they need stays in the cache
TWO, THREE = uintp(2), uintp(3)
REGARDED = 5  # things that a block knows of a candidate, beside what its cells say


@kernel
def weigh_candidates(
    candidates, fresh, residual, texture, noise, shares, middle, level, network, going, plain,
    logits, trust, told, belief,
):  # fmt: skip
    """Tell how likely the candidates of each block are by themselves.

    Args:
        candidates: (N, K, 2), displacements.
        fresh: (N, K) bool, which are judged: the first ones.
        residual: (N, K, 16), of each candidate in each cell.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        noise: (N, 16), standard deviation of the noise in each cell.
        shares: (16,), what each cell counts in means.
        middle: (B, 2), the common displacement.
        level: Of the pyramid.
        network: As ``nets.judge.JudgeNetwork``.
        going: The price of going far, which noise raises.
        plain: (N, K), written: logits by the formula, where judged.
        logits: (rounds + 1, N, K), the first written: by formula and network, where judged.
        trust: (N,), written: from 0 to 1.
        told: (tiles, T, TILE K), written: of the units of ``network.together`` that which does not
            change.
        belief: (rounds, N, K), the first written: probabilities.
    """
    formula, cell_layer, evidence_layer = network.formula, network.cell, network.evidence
    alone, alone_last = network.alone
    trusted, trusted_last = network.trust
    together = network.together[0]
    count, per_frame = candidates.shape[1], len(candidates) // len(middle)
    seen, hidden = evidence_layer[0].shape
    sharpness, lure, scale = np.exp(formula[0]), np.exp(formula[2]), float32(2) ** level
    layer = np.empty((5, hidden), float32)  # of a cell, by input
    for h in range(hidden):
        for i in range(4):
            layer[i, h] = cell_layer[0][h, i]
        layer[1, h] *= float32(4)
        layer[4, h] = cell_layer[1][h] + level * float32(0.5) * cell_layer[0][h, 4]
    least = np.empty(16, float32)
    above = np.empty(hidden, float32)
    cells = np.empty((count, hidden), float32)
    votes = np.empty((hidden, TILE * count), float32)
    known = np.empty((seen + REGARDED, TILE * count), float32)
    most = np.empty((seen + REGARDED, TILE), float32)
    units = np.empty((hidden, TILE * count), float32)
    found = np.empty((1, TILE * count), float32)
    for tile in range(len(told)):
        start, stop = tile * TILE, min((tile + 1) * TILE, len(fresh))
        size = 0
        for n in range(start, stop):
            b = n // per_frame
            last = count_fresh(fresh[n])
            by_cell = texture[n], noise[n], shares
            _cell_votes(residual[n, :last], by_cell, layer, least, above, cells)
            rough, loud = _mean(texture[n], shares), _mean(noise[n], shares)
            for k in range(last):
                x, y = candidates[n, k, 0], candidates[n, k, 1]
                apart_x, apart_y = x - middle[b, 0], y - middle[b, 1]
                apart = np.sqrt(apart_x * apart_x + apart_y * apart_y)
                known[seen, size] = _mean(residual[n, k], shares)
                known[seen + 1, size], known[seen + 2, size] = rough, loud
                length = np.log(float32(1) + scale * np.sqrt(x * x + y * y))
                known[seen + 3, size] = length
                known[seen + 4, size] = np.log(float32(1) + scale * apart)
                price = (going + lure * loud) * length
                plain[n, k] = -sharpness * known[seen, size] - price
                for h in range(hidden):
                    votes[h, size] = cells[k, h]
                size += 1
        _layer(votes, evidence_layer, size, known)
        _layer(known, alone, size, units)
        _rectify(units, size)
        _layer(units, alone_last, size, found)
        _layer(known, together, size, told[tile])
        at = 0
        most[:] = -np.inf
        for n in range(start, stop):
            last = count_fresh(fresh[n])
            for k in range(last):
                logits[0, n, k] = plain[n, k] + found[0, at]
                for i in range(len(known)):
                    most[i, n - start] = max(most[i, n - start], known[i, at])
                at += 1
            _softmax(logits[0, n, :last], belief[0, n])
        _layer(most, trusted, stop - start, units)
        _rectify(units, stop - start)
        _layer(units, trusted_last, stop - start, found)
        for n in range(start, stop):
            trust[n] = float32(1) / (float32(1) + np.exp(-found[0, n - start]))


@kernel
def hear_neighbours(
    turn, candidates, fresh, trust, grid, reach, near, least, plain, network, told, belief,
    logits,
):  # fmt: skip
    """Let blocks tell their four neighbours what they believe.

    A candidate learns how much is believed near it, by trusted neighbours and by all alike.

    Args:
        turn: Number of the round, from 1 on.
        candidates: (N, K, 2), displacements.
        fresh: (N, K) bool, which are judged: the first ones.
        trust: (N,), how far each block is trusted.
        grid: (2,) int64, rows and columns of the blocks of a frame.
        reach: (M,), distances at which a displacement counts a half.
        near: Which of the 2 M numbers full agreement is told by.
        least: Added to the neighbours' trust.
        plain: (N, K), logits by the formula.
        network: As ``nets.judge.JudgeNetwork``.
        told: (tiles, T, TILE K), as ``weigh_candidates`` writes it.
        belief: (rounds, N, K), that of the round before is read, that of this one is written.
        logits: (rounds + 1, N, K), those of the round are written, where judged.
    """
    blocks, count = fresh.shape
    together, middle_layer, last_layer = network.together
    support = np.empty((2 * len(reach), TILE * count), float32)
    units = np.empty((told.shape[1], TILE * count), float32)
    after = np.empty((len(middle_layer[1]), TILE * count), float32)
    found = np.empty((1, TILE * count), float32)
    around = np.empty((5, 4 * count), float32)
    squared, bonus = 1 / reach**2, np.exp(network.formula[1])
    told_by = candidates, fresh, trust, belief[turn - 1]
    for tile in range(len(told)):
        start, stop = tile * TILE, min((tile + 1) * TILE, blocks)
        size = 0
        for n in range(start, stop):
            others = _neighbours(n, grid[0], grid[1], told_by, least, around)
            for k in range(count_fresh(fresh[n])):
                x, y = candidates[n, k, 0], candidates[n, k, 1]
                _agreement(x, y, around, others, squared, support[:, size])
                size += 1
        units[:, :size] = told[tile, :, :size]
        _add(support, together[0], size, units)
        _rectify(units, size)
        _layer(units, middle_layer, size, after)
        _rectify(after, size)
        _layer(after, last_layer, size, found)
        at = 0
        for n in range(start, stop):
            last = count_fresh(fresh[n])
            for k in range(last):
                logits[turn, n, k] = plain[n, k] + bonus * support[near, at] + found[0, at]
                at += 1
            if turn < len(belief):
                _softmax(logits[turn, n, :last], belief[turn, n])


@helper
def _cell_votes(residual, by_cell, layer, least, above, votes):
    """Write the means over the cells of a layer of rectified units, for each candidate."""
    texture, noise, shares = by_cell
    cells, units = len(texture), len(above)
    least[:] = np.inf
    for k in range(len(residual)):
        for cell in range(cells):
            least[cell] = min(least[cell], residual[k, cell])
    votes[:] = 0
    for cell in range(cells):
        for h in range(units):
            above[h] = layer[4, h] - least[cell] * layer[1, h]
            above[h] += texture[cell] * layer[2, h] + noise[cell] * layer[3, h]
        for k in range(len(residual)):
            value = residual[k, cell]
            for h in range(units):
                unit = value * (layer[0, h] + layer[1, h]) + above[h]
                votes[k, h] += max(unit, float32(0)) * shares[cell]


@helper
def _neighbours(n, rows, columns, told_by, least, around):
    """Write what four neighbours believe; return how many candidates they have.

    In rows dx, dy, belief times the share of the trust, and the fourth part of the belief; the
    fifth is left. Beyond the border the block itself is its neighbour.
    """
    candidates, fresh, trust, belief = told_by
    _, r, c = place_of(n, rows, columns)
    above, below = (n - columns if r else n), (n + columns if r < rows - 1 else n)
    left, right = (n - 1 if c else n), (n + 1 if c < columns - 1 else n)
    places = (above, left, right, below)
    total = least
    for place in places:
        total += trust[place]
    size = 0
    for place in places:
        share = trust[place] / total
        for k in range(count_fresh(fresh[place])):
            around[0, size], around[1, size] = candidates[place, k, 0], candidates[place, k, 1]
            around[2, size] = belief[place, k] * share
            around[3, size] = belief[place, k] * float32(0.25)
            size += 1
    return size


@helper
def _agreement(x, y, around, size, squared, support):
    """Write how much is believed near a displacement by trusted neighbours, and by all alike."""
    others = uintp(size)
    for i in range(others):
        apart_x, apart_y = x - around[0, i], y - around[1, i]
        around[4, i] = apart_x * apart_x + apart_y * apart_y
    for m in range(len(squared)):
        by_trusted, by_all = float32(0), float32(0)
        for i in range(others):
            close = float32(1) / (float32(1) + around[4, i] * squared[m])
            by_trusted += close * around[2, i]
            by_all += close * around[3, i]
        support[2 * m], support[2 * m + 1] = by_trusted, by_all


@helper
def _layer(values, layer, size, found):
    """Write what a layer makes of the first columns of values, if these are its first inputs."""
    weight, bias = layer
    for h in range(len(bias)):
        found[h, :size] = bias[h]
    _add(values, weight[:, : len(values)], size, found)


@helper
def _add(values, weight, size, found):
    """Add what weights make of the first columns of values, if these are their last inputs."""
    inputs, columns = uintp(len(values)), uintp(size)
    for h in range(uintp(len(weight))):
        shares = weight[h, weight.shape[1] - len(values) :]
        i = uintp(0)
        while i + THREE < inputs:  # four at a time: less is read and written
            first, second = shares[i], shares[i + ONE]
            third, fourth = shares[i + TWO], shares[i + THREE]
            for m in range(columns):
                one = first * values[i, m] + second * values[i + ONE, m]
                other = third * values[i + TWO, m] + fourth * values[i + THREE, m]
                found[h, m] += one + other
            i += THREE + ONE
        while i < inputs:
            one = shares[i]
            for m in range(columns):
                found[h, m] += one * values[i, m]
            i += ONE


@helper
def _rectify(units, size):
    """Make nothing of what is below nothing."""
    for h in range(uintp(len(units))):
        for m in range(uintp(size)):
            units[h, m] = max(units[h, m], float32(0))


@helper
def _mean(values, shares):
    """Return the mean of a row, of which each value counts its share."""
    total = float32(0)
    for i in range(len(values)):
        total += values[i] * shares[i]
    return total


@helper
def _softmax(logits, probability):
    """Write the probabilities of logits."""
    most, total = logits.max(), float32(0)
    for k in range(len(logits)):
        probability[k] = np.exp(logits[k] - most)
        total += probability[k]
    probability[: len(logits)] /= total
