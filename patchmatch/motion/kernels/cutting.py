"""Extraction of windows from images."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.blocks import place_of, start_of
from patchmatch.motion.kernels.compiling import ONE, helper

CELLS = 4  # a window is divided into CELLS x CELLS cells
PAD = 24  # pixels: windows may reach so far beyond the border, where its pixels are repeated


@helper
def corner_of(n, grid, size, block, side):
    """Return the image of a window, and x and y of its top left pixel; ``size`` is of the image."""
    b, row, column = place_of(n, grid[0], grid[1])
    around = (block - side) // 2
    x, y = start_of(column, size[1], block), start_of(row, size[0], block)
    return b, x + around, y + around


@helper
def cut_window(picture, left, top, window):
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
def cut_gradients(picture, left, top, along, down):
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
def cell_mean(total, first, step):
    """Return the mean over a cell, of ``step`` sums over as many rows."""
    found = float32(0)
    for c in range(first, first + step):
        found += total[c]
    return found / float32(step * step)


@helper
def displaced(picture, left, top, displacement, side):
    """Return x and y of the pixel that a displaced window begins in, and how far beyond it.

    No window begins beyond the repeated border.
    """
    height, width = picture.shape
    place_x = _within(float32(left) + displacement[0], width + PAD - side - 1)
    place_y = _within(float32(top) + displacement[1], height + PAD - side - 1)
    x, y = int(np.floor(place_x)), int(np.floor(place_y))
    return x, y, place_x - float32(x), place_y - float32(y)


@helper
def square_at(picture, x, y, row, border):
    """Return where to read a square of so many pixels a side that begins at x and y.

    That is pixels as one long row, the number of the first one, and how many lie from row to row.
    Beyond the border its own pixels are repeated, in ``border``.
    """
    height, width = picture.shape
    if x >= 0 and y >= 0 and x + row <= width and y + row <= height:
        return picture.ravel(), uintp(y * width + x), uintp(width)
    for r in range(row):
        for c in range(row):
            inside = min(max(y + r, 0), height - 1), min(max(x + c, 0), width - 1)
            border[r * row + c] = picture[inside]
    return border, uintp(0), uintp(row)


@helper
def _within(place, last):
    """Return a place that is not beyond the repeated border; what is no number is at it."""
    if not place >= float32(-PAD):
        return float32(-PAD)
    return min(place, float32(last) - float32(1e-3))
