"""Compiled structure tensors and residuals of windows.

Shared arguments:

    part: First block and the one after the last, of which the results are written.
    image0, image1: (B, H, W), the earlier and the later frames, normalised.
    grid: (2,) int64, rows R and columns C of the blocks of a frame. Blocks and their windows are
        numbered row by row over all frames; N = B R C.
    block: Side of a block in pixels.
    side: Side of the window around a block in pixels, at least that of the block.
    displacement: (N, K, 2), dx and dy in pixels.

A subwindow is a sixteenth of a window; subwindows are numbered row by row.
"""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit, kernel
from patchmatch.motion.kernels.cropping import (
    SUBWINDOWS,
    crop_gradients,
    crop_window,
    displaced,
    padded_square,
    subwindow_mean,
    window_corner,
)
from patchmatch.motion.kernels.noise import INTEGER, INTERPOLATED


@kernel
def structure_tensors(part, image0, image1, grid, block, side, tensor):
    """Write the structure tensor of each subwindow of frame 0.

    Beside the shared arguments:
        tensor: (N, 16, 3), written: means of the gradient products xx, xy and yy.
    """
    pitch = side // SUBWINDOWS
    along, down = np.empty((side, side), float32), np.empty((side, side), float32)
    sums = np.empty(3 * side, float32)
    second, third = uintp(side), uintp(2 * side)
    for n in range(part[0], part[1]):
        b, left, top = window_corner(n, grid, image0.shape[1:], block, side)
        crop_gradients(image0[b], left, top, along, down)
        for row in range(SUBWINDOWS):
            sums[:] = 0
            for r in range(uintp(row * pitch), uintp((row + 1) * pitch)):
                for c in range(uintp(side)):  # one output array, so that the loop is vectorised
                    sums[c] += along[r, c] * along[r, c]
                    sums[second + c] += along[r, c] * down[r, c]
                    sums[third + c] += down[r, c] * down[r, c]
            for column in range(SUBWINDOWS):
                subwindow = row * SUBWINDOWS + column
                for i in range(3):
                    tensor[n, subwindow, i] = subwindow_mean(sums, i * side + column * pitch, pitch)


@kernel
def window_residuals(
    part, image0, image1, grid, block, side, displacement, mask, interpolated, integer, clip,
    residual,
):  # fmt: skip
    """Write the mean clipped difference of each subwindow, minus that of noise.

    Beside the shared arguments:
        mask: (N, K) bool, the displacements to evaluate, the first ones.
        interpolated: (N, 16), mean difference by noise at a displacement between four pixels.
        integer: (N, 16), the same at an integer displacement.
        clip: Upper limit of a difference.
        residual: (N, K, 16), written.
    """
    pitch = side // SUBWINDOWS
    window = np.empty((side, side), float32)
    total = np.empty(side, float32)
    border = np.empty((side + 1) ** 2, float32)
    for n in range(part[0], part[1]):
        b, left, top = window_corner(n, grid, image0.shape[1:], block, side)
        crop_window(image0[b], left, top, window)
        for k in range(displacement.shape[1]):
            if not mask[n, k]:
                break
            x, y, right, down = displaced(image1[b], left, top, displacement[n, k], side)
            pixels, at, stride = padded_square(image1[b], x, y, side + 1, border)
            both = right * down
            blend = float32(1) - right - down + both, right - both, down - both, both
            share = float32(1)  # of the variance of the noise after interpolation
            for i in range(2):
                fraction = displacement[n, k, i] - np.floor(displacement[n, k, i])
                share *= float32(1) - float32(2) * fraction * (float32(1) - fraction)
            deviation = np.sqrt(float32(1) + share)
            integer_share = (deviation - INTERPOLATED) / (INTEGER - INTERPOLATED)
            for row in range(SUBWINDOWS):
                total[:] = 0
                for r in range(row * pitch, (row + 1) * pitch):
                    below = at + stride
                    for c in range(uintp(side)):
                        difference = _interpolate(pixels, at + c, below + c, blend) - window[r, c]
                        total[c] += min(abs(difference), clip)
                    at = below
                for column in range(SUBWINDOWS):
                    subwindow = row * SUBWINDOWS + column
                    low, high = interpolated[n, subwindow], integer[n, subwindow]
                    mean = subwindow_mean(total, column * pitch, pitch)
                    residual[n, k, subwindow] = mean - (low + integer_share * (high - low))


@jit
def _interpolate(pixels, upper, lower, blend):
    """Return the bilinear interpolation of two pixels of a row and the two below them."""
    above = blend[0] * pixels[upper] + blend[1] * pixels[upper + ONE]
    return above + blend[2] * pixels[lower] + blend[3] * pixels[lower + ONE]
