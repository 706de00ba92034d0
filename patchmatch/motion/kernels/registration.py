"""Compiled Lucas-Kanade registration of windows."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compiling import helper, kernel
from patchmatch.motion.kernels.cutting import (
    CELLS,
    cell_mean,
    corner_of,
    cut_gradients,
    cut_window,
    displaced,
    square_at,
)

# pixels in a row that are blended, as by ``patchmatch.ops.sampling.lagrange_weights``
TAPS = 6
BEFORE = 2  # of them, before the middle two's left one
#: of each pixel, one over the product of its distances from the others
APART = tuple(float32(1 / x) for x in (-120, 24, -12, 12, -24, 120))


@kernel
def refine_windows(
    image0, image1, grid, block, side, tensor, loudness, texture, first, last, level,
    limits, steps, displacement,
):  # fmt: skip
    """Refine displacements as ``registration_step`` does, window by window.

    A cell is trusted as ``patchmatch.motion.scoring.CellTrust`` tells.

    Beside the arguments that it shares with the steps of ``windows``:
        tensor: (N, 16, 3), each cell's means of the gradients' products.
        loudness: (N, 16), what noise alone adds to them.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        first: Weights (units, 4) and biases (units,): of the logarithms of a cell's squared
            difference, of its texture and of the mean squared difference, and of the level.
        last: Weights (1, units) and bias (1,), of the rectified units.
        level: Of the pyramid.
        limits: (6,), damping, the longest step, the loudness of nothing and of plenty, the squared
            difference at which a cell counts a quarter, and the least weight.
        steps: How many; they change ``displacement``. What equals the first takes none.
    """
    damping, longest, nothing, plenty, quarter, least = limits
    windows = np.empty((3, side, side), float32)
    window, slope_x, slope_y = windows[0], windows[1], windows[2]
    border = np.empty((side + TAPS - 1) ** 2, float32)
    lines = np.empty((side + TAPS - 1, side), float32)
    down = np.empty(TAPS, float32)
    sums = np.empty(3 * side, float32)
    cells = np.empty((5, CELLS**2), float32)
    x, y, squared, weight, apart = cells[0], cells[1], cells[2], cells[3], cells[4]
    layer = first[0].T.copy()  # by input
    bias = first[1] + level * float32(0.5) * layer[3]
    for n in range(len(displacement)):
        b, left, top = corner_of(n, grid, image0.shape[1:], block, side)
        cut_window(image0[b], left, top, window)
        cut_gradients(image0[b], left, top, slope_x, slope_y)
        begin = displacement[n, 0, 0], displacement[n, 0, 1]
        for k in range(displacement.shape[1]):
            if k and (displacement[n, k, 0], displacement[n, k, 1]) == begin:
                displacement[n, k] = displacement[n, 0]
                continue
            for _ in range(steps):
                _read_lines(image1[b], left, top, displacement[n, k], side, border, lines, down)
                _compare(lines, down, side, window, slope_x, slope_y, sums, x, y, squared)
                _trust(squared, texture[n], layer, bias, last, apart, weight)
                xx, xy, yy = damping, float32(0), damping
                by_x, by_y, quiet = float32(0), float32(0), float32(1e-9)
                for cell in range(CELLS**2):
                    near = float32(1) / (float32(1) + squared[cell] / quarter)
                    trust = weight[cell] * near * near + least
                    xx += trust * tensor[n, cell, 0]
                    xy += trust * tensor[n, cell, 1]
                    yy += trust * tensor[n, cell, 2]
                    by_x += trust * x[cell]
                    by_y += trust * y[cell]
                    quiet += trust * loudness[n, cell]
                share = ((xx + yy) / quiet - nothing) / (plenty - nothing)
                share = min(max(share, float32(0)), float32(1)) / (xx * yy - xy * xy)
                dx, dy = (xy * by_y - yy * by_x) * share, (xy * by_x - xx * by_y) * share
                displacement[n, k, 0] += min(max(dx, -longest), longest)
                displacement[n, k, 1] += min(max(dy, -longest), longest)


@helper
def _read_lines(picture, left, top, displacement, side, border, lines, down):
    """Read the lines of a displaced window, blended across; write by what to blend them down.

    Args:
        picture: (H, W).
        left: Of the window, before it is displaced.
        top: Likewise.
        displacement: (2,).
        side: Of the window, S.
        border: ((S + 5)^2,), for a window that reaches beyond the border.
        lines: (S + 5, S), written: from two above the window to three below it.
        down: (6,), written.
    """
    row = side + TAPS - 1
    x, y, beyond_x, beyond_y = displaced(picture, left, top, displacement, side)
    _blend(beyond_x, down)
    a, b, c, d, e, f = down[0], down[1], down[2], down[3], down[4], down[5]
    _blend(beyond_y, down)
    pixels, at, stride = square_at(picture, x - BEFORE, y - BEFORE, row, border)
    for r in range(row):
        for column in range(uintp(side)):
            i = at + column
            first = a * pixels[i] + b * pixels[i + uintp(1)] + c * pixels[i + uintp(2)]
            last = d * pixels[i + uintp(3)] + e * pixels[i + uintp(4)] + f * pixels[i + uintp(5)]
            lines[r, column] = first + last
        at += stride


@helper
def _blend(fraction, weights):
    """Write by what to blend six pixels to read between the middle two, ``lagrange_weights``."""
    for tap in range(TAPS):
        weight = APART[tap]
        for other in range(TAPS):
            if other != tap:
                weight *= fraction - float32(other - BEFORE)
        weights[tap] = weight


@helper
def _compare(lines, down, side, window, slope_x, slope_y, sums, x, y, squared):
    """Write each cell's means of gradient times difference and of the squared difference."""
    pitch = side // CELLS
    second, third = uintp(side), uintp(2 * side)
    a, b, c, d, e, f = down[0], down[1], down[2], down[3], down[4], down[5]
    for row in range(CELLS):
        sums[:] = 0
        for r in range(uintp(row * pitch), uintp((row + 1) * pitch)):
            for i in range(uintp(side)):
                first = a * lines[r, i] + b * lines[r + uintp(1), i] + c * lines[r + uintp(2), i]
                last = d * lines[r + uintp(3), i] + e * lines[r + uintp(4), i]
                apart = first + last + f * lines[r + uintp(5), i] - window[r, i]
                sums[i] += slope_x[r, i] * apart
                sums[second + i] += slope_y[r, i] * apart
                sums[third + i] += apart * apart
        for column in range(CELLS):
            cell = row * CELLS + column
            x[cell] = cell_mean(sums, column * pitch, pitch)
            y[cell] = cell_mean(sums, side + column * pitch, pitch)
            squared[cell] = cell_mean(sums, 2 * side + column * pitch, pitch)


@helper
def _trust(squared, texture, layer, bias, last, apart, weight):
    """Write the factors by which the network trusts the cells."""
    average = np.log(squared.sum() / float32(CELLS**2) + float32(1e-3))
    for cell in range(CELLS**2):
        apart[cell] = np.log(squared[cell] + float32(1e-3))
        weight[cell] = last[1][0]
    for h in range(len(bias)):
        known = bias[h] + layer[2, h] * average
        for cell in range(CELLS**2):
            unit = known + layer[0, h] * apart[cell] + layer[1, h] * texture[cell]
            weight[cell] += max(unit, float32(0)) * last[0][0, h]
    for cell in range(CELLS**2):
        weight[cell] = np.exp(min(max(weight[cell], float32(-6)), float32(6)))
