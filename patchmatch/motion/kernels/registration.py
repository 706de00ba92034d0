"""Compiled Lucas-Kanade registration of windows."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import jit, kernel
from patchmatch.motion.kernels.cropping import (
    SUBWINDOWS,
    crop_gradients,
    crop_window,
    displaced,
    padded_square,
    subwindow_mean,
    window_corner,
)

TAPS = 6  # of the interpolation, ``patchmatch.ops.sampling.lagrange_weights``
BEFORE = 2  # taps to the left of the pixel that contains the position
#: one over the product of the distances of each tap to the others
TAP_FACTORS = tuple(float32(1 / x) for x in (-120, 24, -12, 12, -24, 120))


@kernel
def refine_windows(
    part, image0, image1, grid, block, side, tensor, noise_variance, texture, first, last, level,
    limits, steps, displacement,
):  # fmt: skip
    """Refine displacements by ``lucas_kanade.registration_step`` with ``scoring.RobustWeights``.

    Beside the shared arguments of ``kernels.windows``:
        part: First block and the one after the last, of which the displacements are refined.
        tensor: (N, 16, 3), structure tensors.
        noise_variance: (N, 16), contribution of noise to their traces.
        texture: (N, 16), logarithm of the root mean square gradient of each subwindow.
        first: Weights (units, 4) and biases (units,) of the logarithm of the squared residual of a
            subwindow, texture, logarithm of the mean squared residual, and half of the level.
        last: Weights (1, units) and bias (1,) of the output.
        level: Pyramid level.
        limits: (6,), damping, largest step, signal-to-noise ratios of no and of a full step,
            squared residual at which the weight of a subwindow is a quarter, and least weight.
        steps: Number of steps, which change ``displacement``; duplicates of the first one are
            copied.
    """
    damping, max_step, min_snr, full_snr, quarter, least = limits
    windows = np.empty((3, side, side), float32)
    window, gradient_x, gradient_y = windows[0], windows[1], windows[2]
    border = np.empty((side + TAPS - 1) ** 2, float32)
    lines = np.empty((side + TAPS - 1, side), float32)
    down = np.empty(TAPS, float32)
    sums = np.empty(3 * side, float32)
    values = np.empty((5, SUBWINDOWS**2), float32)
    x, y, squared, factor, logarithm = values[0], values[1], values[2], values[3], values[4]
    layer = first[0].T.copy()  # by input
    bias = first[1] + level * float32(0.5) * layer[3]
    for n in range(part[0], part[1]):
        b, left, top = window_corner(n, grid, image0.shape[1:], block, side)
        crop_window(image0[b], left, top, window)
        crop_gradients(image0[b], left, top, gradient_x, gradient_y)
        first_one = displacement[n, 0, 0], displacement[n, 0, 1]
        for k in range(displacement.shape[1]):
            if k and (displacement[n, k, 0], displacement[n, k, 1]) == first_one:
                displacement[n, k] = displacement[n, 0]
                continue
            for _ in range(steps):
                _read_lines(image1[b], left, top, displacement[n, k], side, border, lines, down)
                _gradient_residual(
                    lines, down, side, window, gradient_x, gradient_y, sums, x, y, squared
                )
                _robust_factors(squared, texture[n], layer, bias, last, logarithm, factor)
                xx, xy, yy = damping, float32(0), damping
                sum_x, sum_y, noise = float32(0), float32(0), float32(1e-9)
                for subwindow in range(SUBWINDOWS**2):
                    root = float32(1) / (float32(1) + squared[subwindow] / quarter)
                    weight = factor[subwindow] * root * root + least
                    xx += weight * tensor[n, subwindow, 0]
                    xy += weight * tensor[n, subwindow, 1]
                    yy += weight * tensor[n, subwindow, 2]
                    sum_x += weight * x[subwindow]
                    sum_y += weight * y[subwindow]
                    noise += weight * noise_variance[n, subwindow]
                share = ((xx + yy) / noise - min_snr) / (full_snr - min_snr)
                share = min(max(share, float32(0)), float32(1)) / (xx * yy - xy * xy)
                dx, dy = (xy * sum_y - yy * sum_x) * share, (xy * sum_x - xx * sum_y) * share
                displacement[n, k, 0] += min(max(dx, -max_step), max_step)
                displacement[n, k, 1] += min(max(dy, -max_step), max_step)


@jit
def _read_lines(image, left, top, displacement, side, border, lines, down):
    """Interpolate the rows of a displaced window; write the weights of the columns.

    Args:
        image: (H, W).
        left: x of the window at zero displacement.
        top: y of the window at zero displacement.
        displacement: (2,).
        side: Side S of the window in pixels.
        border: ((S + 5)^2,), space for a window that extends beyond the border.
        lines: (S + 5, S), written: rows from two above the window to three below it.
        down: (6,), written: weights of the interpolation of columns.
    """
    row = side + TAPS - 1
    x, y, part_x, part_y = displaced(image, left, top, displacement, side)
    _lagrange_weights(part_x, down)
    a, b, c, d, e, f = down[0], down[1], down[2], down[3], down[4], down[5]
    _lagrange_weights(part_y, down)
    pixels, at, stride = padded_square(image, x - BEFORE, y - BEFORE, row, border)
    for r in range(row):
        for column in range(uintp(side)):
            i = at + column
            first = a * pixels[i] + b * pixels[i + uintp(1)] + c * pixels[i + uintp(2)]
            last = d * pixels[i + uintp(3)] + e * pixels[i + uintp(4)] + f * pixels[i + uintp(5)]
            lines[r, column] = first + last
        at += stride


@jit
def _lagrange_weights(fraction, weights):
    """Write the weights of six pixels at a fraction between the middle two."""
    for tap in range(TAPS):
        weight = TAP_FACTORS[tap]
        for other in range(TAPS):
            if other != tap:
                weight *= fraction - float32(other - BEFORE)
        weights[tap] = weight


@jit
def _gradient_residual(lines, down, side, window, gradient_x, gradient_y, sums, x, y, squared):
    """Write means of gradient times difference and of the squared difference of subwindows."""
    pitch = side // SUBWINDOWS
    second, third = uintp(side), uintp(2 * side)
    a, b, c, d, e, f = down[0], down[1], down[2], down[3], down[4], down[5]
    for row in range(SUBWINDOWS):
        sums[:] = 0
        for r in range(uintp(row * pitch), uintp((row + 1) * pitch)):
            for i in range(uintp(side)):
                first = a * lines[r, i] + b * lines[r + uintp(1), i] + c * lines[r + uintp(2), i]
                last = d * lines[r + uintp(3), i] + e * lines[r + uintp(4), i]
                difference = first + last + f * lines[r + uintp(5), i] - window[r, i]
                sums[i] += gradient_x[r, i] * difference
                sums[second + i] += gradient_y[r, i] * difference
                sums[third + i] += difference * difference
        for column in range(SUBWINDOWS):
            subwindow = row * SUBWINDOWS + column
            x[subwindow] = subwindow_mean(sums, column * pitch, pitch)
            y[subwindow] = subwindow_mean(sums, side + column * pitch, pitch)
            squared[subwindow] = subwindow_mean(sums, 2 * side + column * pitch, pitch)


@jit
def _robust_factors(squared, texture, layer, bias, last, logarithm, factor):
    """Write the factors of the weights of the subwindows, by the network of ``RobustWeights``."""
    average = np.log(squared.sum() / float32(SUBWINDOWS**2) + float32(1e-3))
    for subwindow in range(SUBWINDOWS**2):
        logarithm[subwindow] = np.log(squared[subwindow] + float32(1e-3))
        factor[subwindow] = last[1][0]
    for h in range(len(bias)):
        shared = bias[h] + layer[2, h] * average
        for subwindow in range(SUBWINDOWS**2):
            unit = shared + layer[0, h] * logarithm[subwindow] + layer[1, h] * texture[subwindow]
            factor[subwindow] += max(unit, float32(0)) * last[0][0, h]
    for subwindow in range(SUBWINDOWS**2):
        factor[subwindow] = np.exp(min(max(factor[subwindow], float32(-6)), float32(6)))
