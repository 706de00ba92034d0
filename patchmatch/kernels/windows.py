"""Windows around blocks, compared at any displacement in one pass over their pixels.

The arguments that the kernels share:

    part: (first, last), the blocks whose windows are looked at, but for the last.
    image0, image1: (B, H, W), the earlier frames and the later ones.
    grid: (2,) int64, rows R and columns C of the blocks of a frame. Block n of all frames'
        together, row by row, has window n; N = B R C.
    block: Side of a block in pixels.
    span: Tuple as long as the side S of the window around its centre, at least that of the block.
        The length of a tuple is known when loops are compiled, which makes them twice as fast.
    displacement: (N, K, 2), dx and dy in pixels.

A cell is a sixteenth of a window, row by row. Helpers stand here, and not in a module of their own,
because what is compiled is kept until this file changes.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.kernels.compiling import ONE, helper, kernel

CELLS = 4  # a window is divided into CELLS x CELLS cells
# deviations of the difference to noise blended from four pixels, and from one
LEAST, MOST = float32(np.sqrt(1.25)), float32(np.sqrt(2.0))
PAD = 24  # pixels: windows may reach so far beyond the border, where its pixels are repeated


@kernel
def cell_gradients(part, image0, image1, grid, block, span, tensor):
    """Tell what is in the cells of windows of frame 0.

    Beside the shared arguments:
        tensor: (N, 16, 3), written: each cell's means of the gradients' products xx, xy and yy.
    """
    side = len(span)
    step = side // CELLS
    along, down = np.empty((side, side), float32), np.empty((side, side), float32)
    sums = np.empty(3 * side, float32)
    second, third = uintp(side), uintp(2 * side)
    for n in range(part[0], part[1]):
        b, left, top = _corner_of(n, grid, block, side)
        _cut_gradients(image0[b], left, top, along, down)
        for row in range(CELLS):
            sums[:] = 0
            for r in range(uintp(row * step), uintp((row + 1) * step)):
                for c in range(uintp(side)):  # loops that write to one array become vectors
                    sums[c] += along[r, c] * along[r, c]
                    sums[second + c] += along[r, c] * down[r, c]
                    sums[third + c] += down[r, c] * down[r, c]
            for column in range(CELLS):
                cell = row * CELLS + column
                for i in range(3):
                    tensor[n, cell, i] = _cell_mean(sums, i * side + column * step, step)


@kernel
def window_residuals(
    part, image0, image1, grid, block, span, displacement, wanted, quiet, noisy, clip, residual
):  # fmt: skip
    """Compare windows with frame 1 at their displacements by a clipped absolute difference.

    Beside the shared arguments:
        wanted: (N, K) bool, which displacements are looked at: the first ones.
        quiet: (N, 16), what noise alone leaves in each cell between four pixels.
        noisy: (N, 16), what it leaves at whole pixels.
        clip: Differences count no more than this.
        residual: (N, K, 16), written: each cell's mean, less what noise alone leaves.
    """
    side = len(span)
    step = side // CELLS
    window = np.empty((side, side), float32)
    total = np.empty(side, float32)
    border = np.empty((side + 1) ** 2, float32)
    for n in range(part[0], part[1]):
        b, left, top = _corner_of(n, grid, block, side)
        _cut_window(image0[b], left, top, window)
        for k in range(displacement.shape[1]):
            if not wanted[n, k]:
                break
            source = _displaced(image1[b], left, top, displacement[n, k], side, border)
            pixels, at, stride, blend = source
            share = float32(1)  # of the variance, that blending leaves
            for i in range(2):
                between = displacement[n, k, i] - np.floor(displacement[n, k, i])
                share *= float32(1) - float32(2) * between * (float32(1) - between)
            loud = (np.sqrt(float32(1) + share) - LEAST) / (MOST - LEAST)
            for row in range(CELLS):
                total[:] = 0
                for r in range(row * step, (row + 1) * step):
                    low = at + stride
                    for c in range(uintp(side)):
                        apart = _between(pixels, at + c, low + c, blend) - window[r, c]
                        total[c] += min(abs(apart), clip)
                    at = low
                for column in range(CELLS):
                    cell = row * CELLS + column
                    expected = quiet[n, cell] + loud * (noisy[n, cell] - quiet[n, cell])
                    residual[n, k, cell] = _cell_mean(total, column * step, step) - expected


@kernel
def refine_windows(
    part, image0, image1, grid, block, span, tensor, loudness, texture,
    units, first, last, level, limits, steps, displacement,
):  # fmt: skip
    """Refine displacements as ``patchmatch.ops.registration_step`` does, window by window.

    A cell is trusted as ``patchmatch.nets.judge.CellTrust`` tells.

    Beside the shared arguments:
        tensor: (N, 16, 3), each cell's means of the gradients' products.
        loudness: (N, 16), what noise alone adds to them.
        texture: (N, 16), logarithm of each cell's root mean square gradient.
        units: Tuple as long as there are units in the network.
        first: Weights (units, 4) and biases (units,): of the logarithms of a cell's squared
            difference, of its texture and of the mean squared difference, and of the level.
        last: Weights (1, units) and bias (1,), of the rectified units.
        level: Of the pyramid.
        limits: (6,), damping, the longest step, the loudness of nothing and of plenty, the squared
            difference at which a cell counts a quarter, and the least weight.
        steps: How many; they change ``displacement``. What equals the first takes none.
    """
    side = len(span)
    damping, longest, nothing, plenty, quarter, least = limits
    windows = np.empty((3, side, side), float32)
    window, slope_x, slope_y = windows[0], windows[1], windows[2]
    border = np.empty((side + 1) ** 2, float32)
    sums = np.empty(3 * side, float32)
    cells = np.empty((4, CELLS**2), float32)
    x, y, squared, weight = cells[0], cells[1], cells[2], cells[3]
    known = np.empty(len(units), float32)
    layer = first[0].T.copy()  # by input
    bias = first[1] + level * float32(0.5) * layer[3]
    for n in range(part[0], part[1]):
        b, left, top = _corner_of(n, grid, block, side)
        _cut_window(image0[b], left, top, window)
        _cut_gradients(image0[b], left, top, slope_x, slope_y)
        begin = displacement[n, 0, 0], displacement[n, 0, 1]
        for k in range(displacement.shape[1]):
            if k and (displacement[n, k, 0], displacement[n, k, 1]) == begin:
                displacement[n, k] = displacement[n, 0]
                continue
            for _ in range(steps):
                source = _displaced(image1[b], left, top, displacement[n, k], side, border)
                _compare(source, span, window, slope_x, slope_y, sums, x, y, squared)
                _trust(squared, texture[n], units, layer, bias, last, known, weight)
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
def _compare(source, span, window, slope_x, slope_y, sums, x, y, squared):
    """Write each cell's means of gradient times difference and of the squared difference."""
    pixels, at, stride, blend = source
    side = len(span)
    step = side // CELLS
    second, third = uintp(side), uintp(2 * side)
    for row in range(CELLS):
        sums[:] = 0
        for r in range(row * step, (row + 1) * step):
            low = at + stride
            for c in range(uintp(side)):
                apart = _between(pixels, at + c, low + c, blend) - window[r, c]
                sums[c] += slope_x[r, c] * apart  # loops that write to one array become vectors
                sums[second + c] += slope_y[r, c] * apart
                sums[third + c] += apart * apart
            at = low
        for column in range(CELLS):
            cell = row * CELLS + column
            x[cell] = _cell_mean(sums, column * step, step)
            y[cell] = _cell_mean(sums, side + column * step, step)
            squared[cell] = _cell_mean(sums, 2 * side + column * step, step)


@helper
def _trust(squared, texture, units, layer, bias, last, known, weight):
    """Write the factors by which the network trusts the cells."""
    average = np.log(squared.sum() / float32(CELLS**2) + float32(1e-3))
    for h in range(len(units)):
        known[h] = bias[h] + layer[2, h] * average
    for cell in range(CELLS**2):
        apart = np.log(squared[cell] + float32(1e-3))
        factor = last[1][0]
        for h in range(len(units)):
            unit = known[h] + layer[0, h] * apart + layer[1, h] * texture[cell]
            factor += max(unit, float32(0)) * last[0][0, h]
        weight[cell] = np.exp(min(max(factor, float32(-6)), float32(6)))


@helper
def _corner_of(n, grid, block, side):
    """Return the image of a window, and x and y of its top left pixel."""
    b, rest = divmod(n, grid[0] * grid[1])
    row, column = divmod(rest, grid[1])
    around = (block - side) // 2
    return b, column * block + around, row * block + around


@helper
def _cut_window(picture, left, top, window):
    """Copy a window; beyond the border the border's own pixels."""
    height, width = picture.shape
    side = len(window)
    inside = left >= 0 and left + side <= width
    start = uintp(max(left, 0))
    for r in range(side):
        y = uintp(min(max(top + r, 0), height - 1))
        if inside:
            for c in range(uintp(side)):
                window[r, c] = picture[y, start + c]
        else:
            for c in range(side):
                window[r, c] = picture[y, min(max(left + c, 0), width - 1)]


@helper
def _cut_gradients(picture, left, top, along, down):
    """Write a window's central differences; beyond the border those at the border."""
    height, width = picture.shape
    side = len(along)
    inside = left >= 1 and left + side < width
    start = uintp(max(left, 0))
    half = float32(0.5)
    for r in range(side):
        place = min(max(top + r, 0), height - 1)
        y, above = uintp(place), uintp(max(place - 1, 0))
        below = uintp(min(place + 1, height - 1))
        if inside:
            for c in range(uintp(side)):
                along[r, c] = half * (picture[y, start + c + ONE] - picture[y, start + c - ONE])
            for c in range(uintp(side)):
                down[r, c] = half * (picture[below, start + c] - picture[above, start + c])
        else:
            for c in range(side):
                x = min(max(left + c, 0), width - 1)
                before, after = max(x - 1, 0), min(x + 1, width - 1)
                along[r, c] = half * (picture[y, after] - picture[y, before])
                down[r, c] = half * (picture[below, x] - picture[above, x])


@helper
def _cell_mean(total, first, step):
    """Return the mean over a cell, of ``step`` sums over as many rows."""
    found = float32(0)
    for c in range(first, first + step):
        found += total[c]
    return found / float32(step * step)


@helper
def _displaced(picture, left, top, displacement, side, border):
    """Return where to read a displaced window, and the shares of the four pixels it lies between.

    Where: pixels as one long row, the number of the first one, and how many lie from row to row.
    Beyond the border its own pixels are repeated, in ``border``.
    """
    height, width = picture.shape
    place_x = _within(float32(left) + displacement[0], width + PAD - side - 1)
    place_y = _within(float32(top) + displacement[1], height + PAD - side - 1)
    x, y = int(np.floor(place_x)), int(np.floor(place_y))
    right, down = place_x - float32(x), place_y - float32(y)
    both = right * down
    blend = float32(1) - right - down + both, right - both, down - both, both
    if x >= 0 and y >= 0 and x + side < width and y + side < height:
        return picture.ravel(), uintp(y * width + x), uintp(width), blend
    for r in range(side + 1):
        for c in range(side + 1):
            row, column = min(max(y + r, 0), height - 1), min(max(x + c, 0), width - 1)
            border[r * (side + 1) + c] = picture[row, column]
    return border, uintp(0), uintp(side + 1), blend


@helper
def _between(pixels, upper, lower, blend):
    """Return what lies between two pixels of a row and the two below them."""
    above = blend[0] * pixels[upper] + blend[1] * pixels[upper + ONE]
    return above + blend[2] * pixels[lower] + blend[3] * pixels[lower + ONE]


@helper
def _within(place, last):
    """Return a place that is not beyond the repeated border; what is no number is at it."""
    if not place >= float32(-PAD):
        return float32(-PAD)
    return min(place, float32(last) - float32(1e-3))
