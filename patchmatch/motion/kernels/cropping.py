"""Cropping of windows from images whose border is replicated."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit
from patchmatch.motion.kernels.grid import block_position, block_start

SUBWINDOWS = 4  # along each side of a window
PAD = 24  # pixels that windows may extend beyond the border


@jit
def window_corner(n, grid, size, block, side):
    """Return image, x and y of the top left pixel of a window; ``size`` is that of the images."""
    b, row, column = block_position(n, grid[0], grid[1])
    around = (block - side) // 2
    x, y = block_start(column, size[1], block), block_start(row, size[0], block)
    return b, x + around, y + around


@jit
def crop_window(image, left, top, window):
    """Copy a window; the border is replicated."""
    height, width = image.shape
    side = len(window)
    inside = left >= 0 and left + side <= width
    start = uintp(max(left, 0))
    for r in range(side):
        y = uintp(min(max(top + r, 0), height - 1))
        if inside:
            for c in range(uintp(side)):
                window[r, c] = image[y, start + c]
        else:
            for c in range(side):
                window[r, c] = image[y, min(max(left + c, 0), width - 1)]


@jit
def crop_gradients(image, left, top, along, down):
    """Write the central differences of a window; the border is replicated."""
    height, width = image.shape
    side = len(along)
    inside = left >= 1 and left + side < width
    start = uintp(max(left, 0))
    half = float32(0.5)
    for r in range(side):
        line = min(max(top + r, 0), height - 1)
        y, above = uintp(line), uintp(max(line - 1, 0))
        below = uintp(min(line + 1, height - 1))
        if inside:
            for c in range(uintp(side)):
                along[r, c] = half * (image[y, start + c + ONE] - image[y, start + c - ONE])
            for c in range(uintp(side)):
                down[r, c] = half * (image[below, start + c] - image[above, start + c])
        else:
            for c in range(side):
                x = min(max(left + c, 0), width - 1)
                before, after = max(x - 1, 0), min(x + 1, width - 1)
                along[r, c] = half * (image[y, after] - image[y, before])
                down[r, c] = half * (image[below, x] - image[above, x])


@jit
def subwindow_mean(total, first, step):
    """Return the mean over a subwindow from ``step`` sums of columns."""
    found = float32(0)
    for c in range(first, first + step):
        found += total[c]
    return found / float32(step * step)


@jit
def displaced(image, left, top, displacement, side):
    """Return the top left pixel x, y of a displaced window, and the fractions of its position.

    The position is limited to the padded image.
    """
    height, width = image.shape
    left_x = _limited(float32(left) + displacement[0], width + PAD - side - 1)
    top_y = _limited(float32(top) + displacement[1], height + PAD - side - 1)
    x, y = int(np.floor(left_x)), int(np.floor(top_y))
    return x, y, left_x - float32(x), top_y - float32(y)


@jit
def padded_square(image, x, y, row, border):
    """Return a square of ``row`` pixels a side at x, y: flat pixels, first index and stride.

    If it extends beyond the border, it is copied to ``border``, with the border replicated.
    """
    height, width = image.shape
    if x >= 0 and y >= 0 and x + row <= width and y + row <= height:
        return image.ravel(), uintp(y * width + x), uintp(width)
    for r in range(row):
        for c in range(row):
            inside = min(max(y + r, 0), height - 1), min(max(x + c, 0), width - 1)
            border[r * row + c] = image[inside]
    return border, uintp(0), uintp(row)


@jit
def _limited(position, last):
    """Return a position limited to the padded image; NaN becomes its first pixel."""
    if not position >= float32(-PAD):
        return float32(-PAD)
    return min(position, float32(last) - float32(1e-3))
