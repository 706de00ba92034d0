"""What a judge makes of the candidates of each block, and of what its neighbours believe.

A layer of a network of I inputs and O outputs is its weights (O, I) and its biases (O,). Layers are
computed for the candidates of some blocks at a time, which stand side by side in the columns of
arrays.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.kernels.compiling import ONE, helper, kernel

TILE = 16  # blocks whose candidates are side by side: what they need stays in the cache
TWO, THREE = uintp(2), uintp(3)
REGARDED = 5  # things that a block knows of a candidate, beside what its cells say


@kernel
def weigh_candidates(
    part, candidates, fresh, residual, texture, noise, shares, middle, level, formula, going,
    cell_layer, evidence_layer, alone, alone_last, trusted, trusted_last, together, plain, logits,
    trust, told,
):  # fmt: skip
    """Tell how likely the candidates of each block are by themselves.

    Args:
        part: (first, last), the tiles that are looked at, but for the last.
        candidates: (B, N, K, 2), displacements.
        fresh: (B N, K) bool, which are judged: the first ones. Of the others nothing is written.
        residual: (B N, K, 16), of each candidate in each cell.
        texture: (B N, 16), logarithm of each cell's root mean square gradient.
        noise: (B N, 16), standard deviation of the noise in each cell.
        shares: (16,), what each cell counts in means.
        middle: (B, 2), the common displacement.
        level: Of the pyramid.
        formula: (3,), logarithms of what a difference counts, of what neighbours' agreement counts
            and of by how much noise raises the price of going far.
        going: That price.
        cell_layer: Of a residual, of how far it is above the least one, of the texture, of the
            noise and of the level, H units.
        evidence_layer: Of the mean of the cells' rectified units, E outputs.
        alone: Of the evidence, the mean residual, texture and noise, and the logarithms of 1 + the
            displacement's length and of 1 + its distance from the common one, H units.
        alone_last: Added to the logits.
        trusted: As ``alone``, of the greatest of all candidates.
        trusted_last: Its output.
        together: T units, of the same and of what neighbours say.
        plain: (B N, K), written: logits by the formula.
        logits: (B N, K), written: by formula and network.
        trust: (B N,), written: from 0 to 1.
        told: (tiles, T, TILE K), written: of ``together`` that which does not change.
    """
    blocks, count = candidates.shape[1:3]
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
    for tile in range(part[0], part[1]):
        start, stop = tile * TILE, min((tile + 1) * TILE, len(fresh))
        size = 0
        for n in range(start, stop):
            b, block = divmod(n, blocks)
            last = _count(fresh[n])
            by_cell = texture[n], noise[n], shares
            _cell_votes(residual[n, :last], by_cell, layer, least, above, cells)
            rough, loud = _mean(texture[n], shares), _mean(noise[n], shares)
            for k in range(last):
                x, y = candidates[b, block, k, 0], candidates[b, block, k, 1]
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
            for k in range(_count(fresh[n])):
                logits[n, k] = plain[n, k] + found[0, at]
                for i in range(len(known)):
                    most[i, n - start] = max(most[i, n - start], known[i, at])
                at += 1
        _layer(most, trusted, stop - start, units)
        _rectify(units, stop - start)
        _layer(units, trusted_last, stop - start, found)
        for n in range(start, stop):
            trust[n] = float32(1) / (float32(1) + np.exp(-found[0, n - start]))


@kernel
def hear_neighbours(
    candidates, fresh, trust, rows, columns, reach, near, least, plain, formula, told, together,
    middle_layer, last_layer, logits,
):  # fmt: skip
    """Let blocks tell their four neighbours what they believe, round by round.

    A candidate learns how much is believed near it, by trusted neighbours and by all alike.

    Args:
        candidates: (N, K, 2), displacements.
        fresh: (N, K) bool, which are judged: the first ones.
        trust: (N,), how far each block is trusted.
        rows: Of a frame's blocks.
        columns: Likewise.
        reach: (M,), distances at which a displacement counts a half.
        near: Which of the 2 M numbers full agreement is told by.
        least: Added to the neighbours' trust.
        plain: (N, K), logits by the formula.
        formula: As that of ``weigh_candidates``.
        told: (tiles, T, TILE K), as ``weigh_candidates`` writes it.
        together: T units, of the same and, last, of what is believed near a candidate.
        middle_layer: H units, of those.
        last_layer: Of these, added to the logits.
        logits: (rounds + 1, N, K), the first given, the others written.
    """
    blocks, count = fresh.shape
    belief = np.zeros((blocks, count), float32)
    support = np.empty((2 * len(reach), TILE * count), float32)
    units = np.empty((told.shape[1], TILE * count), float32)
    after = np.empty((len(middle_layer[1]), TILE * count), float32)
    found = np.empty((1, TILE * count), float32)
    around = np.empty((5, 4 * count), float32)
    squared, bonus = 1 / reach**2, np.exp(formula[1])
    for turn in range(1, len(logits)):
        for n in range(blocks):
            _softmax(logits[turn - 1, n, : _count(fresh[n])], belief[n])
        for tile in range(len(told)):
            start, stop = tile * TILE, min((tile + 1) * TILE, blocks)
            size = 0
            for n in range(start, stop):
                told_by = candidates, fresh, trust, belief
                others = _neighbours(n, rows, columns, told_by, least, around)
                for k in range(_count(fresh[n])):
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
                for k in range(_count(fresh[n])):
                    logits[turn, n, k] = plain[n, k] + bonus * support[near, at] + found[0, at]
                    at += 1


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
    r, c = divmod(n % (rows * columns), columns)
    above, below = (n - columns if r else n), (n + columns if r < rows - 1 else n)
    left, right = (n - 1 if c else n), (n + 1 if c < columns - 1 else n)
    places = (above, left, right, below)
    total = least
    for place in places:
        total += trust[place]
    size = 0
    for place in places:
        share = trust[place] / total
        for k in range(_count(fresh[place])):
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
def _count(fresh):
    """Return how many are judged, of which the others are the last ones."""
    count = 0
    while count < len(fresh) and fresh[count]:
        count += 1
    return count


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
