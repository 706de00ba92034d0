"""Compiled scoring of candidates, with message passing between neighbouring blocks.

A layer with I inputs and O outputs has weights (O, I) and biases (O,). Layers are computed for the
candidates of a tile of blocks at once, which are adjacent columns of the arrays.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit, kernel
from patchmatch.motion.kernels.grid import block_position, count_unique

TILE = 16  # blocks, whose candidates fit into the cache
TWO, THREE = uintp(2), uintp(3)
MEANS = 5  # features of a candidate beside those of its subwindows


@kernel
def score_candidates(
    part, candidates, unique, residual, texture, noise, subwindow_weights, dominant, level,
    network, zero_motion_prior, formula, logits, trust, hidden, belief,
):  # fmt: skip
    """Write the logits of the candidates of each block before message passing.

    Args:
        part: First tile and the one after the last, of which the results are written.
        candidates: (N, K, 2), in pixels of the level.
        unique: (N, K) bool, candidates that are scored, the first ones.
        residual: (N, K, 16), of each candidate in each subwindow.
        texture: (N, 16), logarithm of the root mean square gradient of each subwindow.
        noise: (N, 16), standard deviation of the noise in each subwindow.
        subwindow_weights: (16,), weight of each subwindow in means.
        dominant: (B, 2), dominant motion.
        level: Pyramid level.
        network: ``scoring.ScorerWeights``.
        zero_motion_prior: Factor of log(1 + length).
        formula: (N, K), written: logits of the hand-crafted formula, of scored candidates.
        logits: (iterations + 1, N, K), the first written, of scored candidates.
        trust: (N,), written: trust weights in [0, 1].
        hidden: (tiles, T, TILE K), written: the part of the hidden units of ``network.pairwise``
            that does not depend on messages.
        belief: (iterations, N, K), the first written: probabilities.
    """
    subwindow_layer, evidence_layer = network.subwindow, network.evidence
    unary_first, unary_last = network.unary
    trust_first, trust_last = network.trust
    pairwise_first = network.pairwise[0]
    count, per_frame = candidates.shape[1], len(candidates) // len(dominant)
    evidence, width = evidence_layer[0].shape
    sharpness, noise_penalty = np.exp(network.formula[0]), np.exp(network.formula[2])
    scale = float32(2) ** level
    layer = np.empty((5, width), float32)  # weights by input, and the bias
    for h in range(width):
        for i in range(4):
            layer[i, h] = subwindow_layer[0][h, i]
        layer[1, h] *= float32(4)
        layer[4, h] = subwindow_layer[1][h] + level * float32(0.5) * subwindow_layer[0][h, 4]
    least = np.empty(16, float32)
    of_subwindow = np.empty(width, float32)
    averaged = np.empty((count, width), float32)
    inputs = np.empty((width, TILE * count), float32)
    features = np.empty((evidence + MEANS, TILE * count), float32)
    largest = np.empty((evidence + MEANS, TILE), float32)
    units = np.empty((width, TILE * count), float32)
    output = np.empty((1, TILE * count), float32)
    for tile in range(part[0], part[1]):
        start, stop = tile * TILE, min((tile + 1) * TILE, len(unique))
        size = 0
        for n in range(start, stop):
            b = n // per_frame
            last = count_unique(unique[n])
            subwindows = texture[n], noise[n], subwindow_weights
            _subwindow_features(
                residual[n, :last], subwindows, layer, least, of_subwindow, averaged
            )
            mean_texture = _mean(texture[n], subwindow_weights)
            mean_noise = _mean(noise[n], subwindow_weights)
            for k in range(last):
                x, y = candidates[n, k, 0], candidates[n, k, 1]
                dx, dy = x - dominant[b, 0], y - dominant[b, 1]
                length = np.log(float32(1) + scale * np.sqrt(x * x + y * y))
                difference = np.log(float32(1) + scale * np.sqrt(dx * dx + dy * dy))
                features[evidence, size] = _mean(residual[n, k], subwindow_weights)
                features[evidence + 1, size] = mean_texture
                features[evidence + 2, size] = mean_noise
                features[evidence + 3, size] = length
                features[evidence + 4, size] = difference
                penalty = (zero_motion_prior + noise_penalty * mean_noise) * length
                formula[n, k] = -sharpness * features[evidence, size] - penalty
                for h in range(width):
                    inputs[h, size] = averaged[k, h]
                size += 1
        _layer(inputs, evidence_layer, size, features)
        _layer(features, unary_first, size, units)
        _relu(units, size)
        _layer(units, unary_last, size, output)
        _layer(features, pairwise_first, size, hidden[tile])
        column = 0
        largest[:] = -np.inf
        for n in range(start, stop):
            last = count_unique(unique[n])
            for k in range(last):
                logits[0, n, k] = formula[n, k] + output[0, column]
                for i in range(len(features)):
                    largest[i, n - start] = max(largest[i, n - start], features[i, column])
                column += 1
            _softmax(logits[0, n, :last], belief[0, n])
        _layer(largest, trust_first, stop - start, units)
        _relu(units, stop - start)
        _layer(units, trust_last, stop - start, output)
        for n in range(start, stop):
            trust[n] = float32(1) / (float32(1) + np.exp(-output[0, n - start]))


@kernel
def pass_messages(
    part, iteration, candidates, unique, trust, grid, scales, agreement, min_trust, formula,
    network, hidden, belief, logits,
):  # fmt: skip
    """Write the logits after a message-passing iteration between the four neighbours of blocks.

    Args:
        part: First tile and the one after the last, of which the results are written.
        iteration: From 1 on.
        candidates: (N, K, 2), in pixels of the level.
        unique: (N, K) bool, candidates that are scored, the first ones.
        trust: (N,), trust weight of each block.
        grid: (2,) int64, rows and columns of the blocks of a frame.
        scales: (M,), differences of displacements whose agreement is a half.
        agreement: The one of the 2 M messages that the bonus of the formula takes.
        min_trust: Added to the sum of the trust weights.
        formula: (N, K), logits of the hand-crafted formula.
        network: ``scoring.ScorerWeights``.
        hidden: (tiles, T, TILE K), from ``score_candidates``.
        belief: (iterations, N, K), probabilities; those of this iteration are written.
        logits: (iterations + 1, N, K); those of this iteration are written, of scored candidates.
    """
    blocks, count = unique.shape
    first_layer, middle_layer, last_layer = network.pairwise
    messages = np.empty((2 * len(scales), TILE * count), float32)
    units = np.empty((hidden.shape[1], TILE * count), float32)
    second = np.empty((len(middle_layer[1]), TILE * count), float32)
    output = np.empty((1, TILE * count), float32)
    around = np.empty((5, 4 * count), float32)
    factors, bonus = 1 / scales**2, np.exp(network.formula[1])
    beliefs = candidates, unique, trust, belief[iteration - 1]
    for tile in range(part[0], part[1]):
        start, stop = tile * TILE, min((tile + 1) * TILE, blocks)
        size = 0
        for n in range(start, stop):
            others = _gather_beliefs(n, grid[0], grid[1], beliefs, min_trust, around)
            for k in range(count_unique(unique[n])):
                x, y = candidates[n, k, 0], candidates[n, k, 1]
                _write_messages(x, y, around, others, factors, messages[:, size])
                size += 1
        units[:, :size] = hidden[tile, :, :size]
        _add_product(messages, first_layer[0], size, units)
        _relu(units, size)
        _layer(units, middle_layer, size, second)
        _relu(second, size)
        _layer(second, last_layer, size, output)
        column = 0
        for n in range(start, stop):
            last = count_unique(unique[n])
            for k in range(last):
                learned = bonus * messages[agreement, column] + output[0, column]
                logits[iteration, n, k] = formula[n, k] + learned
                column += 1
            if iteration < len(belief):
                _softmax(logits[iteration, n, :last], belief[iteration, n])


@jit
def _subwindow_features(residual, subwindows, layer, least, of_subwindow, averaged):
    """Write a layer with ReLU of each subwindow, averaged over the subwindows, by candidate."""
    texture, noise, weights = subwindows
    count, units = len(texture), len(of_subwindow)
    least[:] = np.inf
    for k in range(len(residual)):
        for i in range(count):
            least[i] = min(least[i], residual[k, i])
    averaged[:] = 0
    for i in range(count):
        for h in range(units):
            of_subwindow[h] = layer[4, h] - least[i] * layer[1, h]
            of_subwindow[h] += texture[i] * layer[2, h] + noise[i] * layer[3, h]
        for k in range(len(residual)):
            value = residual[k, i]
            for h in range(units):
                unit = value * (layer[0, h] + layer[1, h]) + of_subwindow[h]
                averaged[k, h] += max(unit, float32(0)) * weights[i]


@jit
def _gather_beliefs(n, rows, columns, beliefs, min_trust, around):
    """Write the candidates and beliefs of the four neighbours; return how many there are.

    The rows are dx, dy, belief times the share of the trust, a quarter of the belief, and one for
    ``_write_messages``. The border is replicated.
    """
    candidates, unique, trust, belief = beliefs
    _, r, c = block_position(n, rows, columns)
    above, below = (n - columns if r else n), (n + columns if r < rows - 1 else n)
    left, right = (n - 1 if c else n), (n + 1 if c < columns - 1 else n)
    total = min_trust
    for neighbour in (above, left, right, below):
        total += trust[neighbour]
    size = 0
    for neighbour in (above, left, right, below):
        share = trust[neighbour] / total
        for k in range(count_unique(unique[neighbour])):
            around[0, size] = candidates[neighbour, k, 0]
            around[1, size] = candidates[neighbour, k, 1]
            around[2, size] = belief[neighbour, k] * share
            around[3, size] = belief[neighbour, k] * float32(0.25)
            size += 1
    return size


@jit
def _write_messages(x, y, around, size, factors, messages):
    """Write the belief near a displacement for each scale, weighted by trust and unweighted."""
    others = uintp(size)
    for i in range(others):
        dx, dy = x - around[0, i], y - around[1, i]
        around[4, i] = dx * dx + dy * dy
    for m in range(len(factors)):
        weighted, unweighted = float32(0), float32(0)
        for i in range(others):
            near = float32(1) / (float32(1) + around[4, i] * factors[m])
            weighted += near * around[2, i]
            unweighted += near * around[3, i]
        messages[2 * m], messages[2 * m + 1] = weighted, unweighted


@jit
def _layer(values, layer, size, output):
    """Write a layer of the first columns, whose rows are its first inputs."""
    weight, bias = layer
    for h in range(len(bias)):
        output[h, :size] = bias[h]
    _add_product(values, weight[:, : len(values)], size, output)


@jit
def _add_product(values, weight, size, output):
    """Add the product of weights with the first columns, whose rows are the last inputs."""
    inputs, columns = uintp(len(values)), uintp(size)
    for h in range(uintp(len(weight))):
        factors = weight[h, weight.shape[1] - len(values) :]
        i = uintp(0)
        while i + THREE < inputs:  # four at a time, for less traffic of memory
            first, second = factors[i], factors[i + ONE]
            third, fourth = factors[i + TWO], factors[i + THREE]
            for m in range(columns):
                one = first * values[i, m] + second * values[i + ONE, m]
                other = third * values[i + TWO, m] + fourth * values[i + THREE, m]
                output[h, m] += one + other
            i += THREE + ONE
        while i < inputs:
            one = factors[i]
            for m in range(columns):
                output[h, m] += one * values[i, m]
            i += ONE


@jit
def _relu(units, size):
    """Apply a ReLU to the first columns, in place."""
    for h in range(uintp(len(units))):
        for m in range(uintp(size)):
            units[h, m] = max(units[h, m], float32(0))


@jit
def _mean(values, weights):
    """Return the weighted mean of a row; the weights add up to 1."""
    total = float32(0)
    for i in range(len(values)):
        total += values[i] * weights[i]
    return total


@jit
def _softmax(logits, probability):
    """Write the softmax of logits."""
    largest, total = logits.max(), float32(0)
    for k in range(len(logits)):
        probability[k] = np.exp(logits[k] - largest)
        total += probability[k]
    probability[: len(logits)] /= total
