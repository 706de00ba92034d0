"""Comparison of windows at any displacement, in one pass over their pixels.

Arguments that the steps share:

    image0, image1: (B, H, W), the earlier and the later frames.
    grid: (2,) int64, rows R and columns C of the blocks of a frame. Blocks and their windows are
        numbered row by row over all frames; N = B R C.
    block: Side of a block in pixels.
    side: Side S of the window around a block in pixels, at least that of the block.
    displacement: (N, K, 2), dx and dy in pixels.

A cell is a sixteenth of a window; cells are numbered row by row.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compiling import ONE, helper, kernel
from patchmatch.motion.kernels.cutting import (
    CELLS,
    cell_mean,
    corner_of,
    cut_gradients,
    cut_window,
    displaced,
    square_at,
)
from patchmatch.motion.kernels.noise import LEAST, MOST


@kernel
def cell_gradients(image0, image1, grid, block, side, tensor):
    """Tell what is in the cells of windows of frame 0.

    Beside the shared arguments:
        tensor: (N, 16, 3), written: each cell's means of the gradients' products xx, xy and yy.
    """
    pitch = side // CELLS
    along, down = np.empty((side, side), float32), np.empty((side, side), float32)
    sums = np.empty(3 * side, float32)
    second, third = uintp(side), uintp(2 * side)
    for n in range(len(tensor)):
        b, left, top = corner_of(n, grid, image0.shape[1:], block, side)
        cut_gradients(image0[b], left, top, along, down)
        for row in range(CELLS):
            sums[:] = 0
            for r in range(uintp(row * pitch), uintp((row + 1) * pitch)):
                for c in range(uintp(side)):  # loops that write to one array become vectors
                    sums[c] += along[r, c] * along[r, c]
                    sums[second + c] += along[r, c] * down[r, c]
                    sums[third + c] += down[r, c] * down[r, c]
            for column in range(CELLS):
                cell = row * CELLS + column
                for i in range(3):
                    tensor[n, cell, i] = cell_mean(sums, i * side + column * pitch, pitch)


@kernel
def window_residuals(
    image0, image1, grid, block, side, displacement, wanted, quiet, noisy, clip, residual
):
    """Compare windows with frame 1 at their displacements by a clipped absolute difference.

    Beside the shared arguments:
        wanted: (N, K) bool, which displacements are looked at: the first ones.
        quiet: (N, 16), what noise alone leaves in each cell between four pixels.
        noisy: (N, 16), what it leaves at whole pixels.
        clip: Differences count no more than this.
        residual: (N, K, 16), written: each cell's mean, less what noise alone leaves.
    """
    pitch = side // CELLS
    window = np.empty((side, side), float32)
    total = np.empty(side, float32)
    border = np.empty((side + 1) ** 2, float32)
    for n in range(len(displacement)):
        b, left, top = corner_of(n, grid, image0.shape[1:], block, side)
        cut_window(image0[b], left, top, window)
        for k in range(displacement.shape[1]):
            if not wanted[n, k]:
                break
            x, y, right, down = displaced(image1[b], left, top, displacement[n, k], side)
            pixels, at, stride = square_at(image1[b], x, y, side + 1, border)
            both = right * down
            blend = float32(1) - right - down + both, right - both, down - both, both
            share = float32(1)  # of the variance, that blending leaves
            for i in range(2):
                between = displacement[n, k, i] - np.floor(displacement[n, k, i])
                share *= float32(1) - float32(2) * between * (float32(1) - between)
            loud = (np.sqrt(float32(1) + share) - LEAST) / (MOST - LEAST)
            for row in range(CELLS):
                total[:] = 0
                for r in range(row * pitch, (row + 1) * pitch):
                    low = at + stride
                    for c in range(uintp(side)):
                        apart = _between(pixels, at + c, low + c, blend) - window[r, c]
                        total[c] += min(abs(apart), clip)
                    at = low
                for column in range(CELLS):
                    cell = row * CELLS + column
                    expected = quiet[n, cell] + loud * (noisy[n, cell] - quiet[n, cell])
                    residual[n, k, cell] = cell_mean(total, column * pitch, pitch) - expected


@helper
def _between(pixels, upper, lower, blend):
    """Return what lies between two pixels of a row and the two below them."""
    above = blend[0] * pixels[upper] + blend[1] * pixels[upper + ONE]
    return above + blend[2] * pixels[lower] + blend[3] * pixels[lower + ONE]
