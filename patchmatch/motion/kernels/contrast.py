"""Image pyramid and local contrast normalisation."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compiling import ONE, helper

CELL = 4  # pixels: side of the cells by which noise is told


@helper
def halve(image, half):
    """Average 2x2 pixels; a last row or column that is odd in number is repeated.

    Args:
        image: (H, W).
        half: (ceil(H / 2), ceil(W / 2)), written.
    """
    height, width = image.shape
    rows, columns = half.shape
    for r in range(rows):
        upper, lower = 2 * r, min(2 * r + 1, height - 1)
        for c in range(uintp(width // 2)):
            x = c + c
            top = image[upper, x] + image[upper, x + ONE]
            low = image[lower, x] + image[lower, x + ONE]
            half[r, c] = (top + low) * float32(0.25)
        if width % 2:
            end = image[upper, width - 1] + image[lower, width - 1]
            half[r, columns - 1] = end * float32(0.5)


@helper
def local_contrast_normalization(image, span, softening, noise, even, loud):
    """Subtract the mean around every pixel and divide by the standard deviation there.

    Args:
        image: (H, W).
        span: Tuple as long as the side of the square in which they are taken, odd; of what lies
            beyond the border nothing counts.
        softening: Least deviation.
        noise: Standard deviation of the noise in the image.
        even: (H, W), written.
        loud: (ceil(H / 4), ceil(W / 4)), written: that of the noise when contrast is even, in
            the mean of each cell; beyond the border the border's own pixels.
    """
    height, width = image.shape
    rows, columns = loud.shape
    reach = len(span) // 2
    values = np.zeros(width + 2 * reach)  # sums of columns, to which no row's error is left
    squares = np.zeros(width + 2 * reach)
    narrow = np.zeros((2, width + 2 * reach), float32)
    share = np.empty(width, float32)  # one over the columns that count
    for x in range(width):
        share[x] = 1 / (min(x + reach, width - 1) - max(x - reach, 0) + 1)
    gain = np.empty(columns * CELL, float32)
    begin = uintp(reach)
    loud[:] = 0
    for y in range(min(reach, height)):
        _add_row(image[y], 1, begin, values, squares)
    for y in range(height):
        if y + reach < height:
            _add_row(image[y + reach], 1, begin, values, squares)
        if y > reach:
            _add_row(image[y - reach - 1], -1, begin, values, squares)
        down = float32(min(y + reach, height - 1) - max(y - reach, 0) + 1)
        for x in range(uintp(len(values))):
            narrow[0, x], narrow[1, x] = values[x], squares[x]
        for x in range(uintp(width)):
            total, square = float32(0), float32(0)
            for i in range(uintp(len(span))):
                total += narrow[0, x + i]
                square += narrow[1, x + i]
            mean = total * share[x] / down
            variance = max(square * share[x] / down - mean * mean, float32(0))
            gain[x] = float32(1) / np.sqrt(variance + softening * softening)
            even[y, x] = (image[y, x] - mean) * gain[x]
        gain[width:] = gain[width - 1]
        times = float32(1 if y < height - 1 else CELL * rows - y) * noise
        for c in range(uintp(columns)):
            x = uintp(CELL) * c
            four = gain[x] + gain[x + ONE] + gain[x + ONE + ONE] + gain[x + ONE + ONE + ONE]
            loud[y // CELL, c] += four * times * float32(1 / CELL**2)


@helper
def _add_row(row, sign, begin, values, squares):
    """Add a row and its square to sums, or take them from these."""
    for x in range(uintp(len(row))):
        pixel = float(row[x])
        values[begin + x] += sign * pixel
        squares[begin + x] += sign * pixel * pixel
