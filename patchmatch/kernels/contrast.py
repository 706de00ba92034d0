"""Images of half the size, and of even contrast."""

import numpy as np
from numpy import float32, uintp

from patchmatch.kernels.compiling import ONE, kernel

CELL = 4  # pixels


@kernel
def halve(image, half):
    """Average 2x2 pixels; a last row or column that is odd in number is repeated.

    Args:
        image: (B, H, W).
        half: (B, ceil(H / 2), ceil(W / 2)), written.
    """
    height, width = image.shape[1:]
    rows, columns = half.shape[1:]
    for row in range(len(half) * rows):
        b, r = divmod(row, rows)
        upper, lower = 2 * r, min(2 * r + 1, height - 1)
        for c in range(uintp(width // 2)):
            x = c + c
            top = image[b, upper, x] + image[b, upper, x + ONE]
            low = image[b, lower, x] + image[b, lower, x + ONE]
            half[b, r, c] = (top + low) * float32(0.25)
        if width % 2:
            end = image[b, upper, width - 1] + image[b, lower, width - 1]
            half[b, r, columns - 1] = end * float32(0.5)


@kernel
def cell_moments(image, moments):
    """Average an image and its square over cells; beyond the border the border's own pixels.

    Args:
        image: (B, H, W).
        moments: (B, 2, ceil(H / 4), ceil(W / 4)), written: mean and mean square.
    """
    height, width = image.shape[1:]
    rows, columns = moments.shape[2:]
    share = float32(1 / CELL**2)
    value = np.empty(columns * CELL, float32)
    square = np.empty(columns * CELL, float32)
    for row in range(len(image) * rows):
        b, r = divmod(row, rows)
        value[:], square[:] = 0, 0
        for y in range(r * CELL, (r + 1) * CELL):
            y = min(y, height - 1)
            for x in range(uintp(width)):
                pixel = image[b, y, x]
                value[x] += pixel
                square[x] += pixel * pixel
        for x in range(width, columns * CELL):
            value[x], square[x] = value[width - 1], square[width - 1]
        for c in range(uintp(columns)):
            x = uintp(CELL) * c
            one, two, three = x + ONE, x + ONE + ONE, x + ONE + ONE + ONE
            moments[b, 0, r, c] = share * (value[x] + value[one] + value[two] + value[three])
            moments[b, 1, r, c] = share * (square[x] + square[one] + square[two] + square[three])


@kernel
def cell_gains(moments, floor, noise, gains, loud):
    """Tell by how much contrast is to be raised around each cell, over 3x3 of them.

    Args:
        moments: (B, 2, R, C), mean and mean square of the cells.
        floor: Added to the standard deviation.
        noise: (B,), standard deviation of the noise in the image.
        gains: (B, 2, R, C + 2), written: gain and offset, the first and the last twice.
        loud: (B, R, C), written: standard deviation of the noise when contrast is even.
    """
    rows, columns = moments.shape[2:]
    ninth = float32(1 / 9)
    means = np.empty(columns + 2, float32)  # of three rows, the first and the last twice
    squares = np.empty(columns + 2, float32)
    for row in range(len(moments) * rows):
        b, r = divmod(row, rows)
        above, below = max(r - 1, 0), min(r + 1, rows - 1)
        for i, sums in ((0, means), (1, squares)):
            for c in range(uintp(columns)):
                three = moments[b, i, above, c] + moments[b, i, r, c] + moments[b, i, below, c]
                sums[c + ONE] = three * ninth
            sums[0], sums[columns + 1] = sums[1], sums[columns]
        for c in range(uintp(1), uintp(columns + 1)):
            mean = means[c - ONE] + means[c] + means[c + ONE]
            square = squares[c - ONE] + squares[c] + squares[c + ONE]
            gain = float32(1) / (np.sqrt(max(square - mean * mean, float32(0))) + floor)
            loud[b, r, c - ONE] = noise[b] * gain
            gains[b, 0, r, c] = gain
            gains[b, 1, r, c] = -mean * gain
        for i in range(2):
            gains[b, i, r, 0] = gains[b, i, r, 1]
            gains[b, i, r, columns + 1] = gains[b, i, r, columns]


@kernel
def even_contrast(image, gains, even):
    """Make the contrast of an image even by the gains of its cells, bilinear between them.

    Args:
        image: (B, H, W).
        gains: (B, 2, R, C + 2), as ``cell_gains`` writes them.
        even: (B, H, W), written.
    """
    height, width = image.shape[1:]
    rows, columns = gains.shape[2:]
    gain = np.empty(columns, float32)
    offset = np.empty(columns, float32)
    by = np.empty(CELL * columns, float32)  # of each pixel, from half a cell before the first on
    plus = np.empty(CELL * columns, float32)
    half = uintp(CELL // 2)
    for row in range(len(image) * height):
        b, y = divmod(row, height)
        place = max((float32(y) + float32(0.5)) / float32(CELL) - float32(0.5), float32(0))
        upper = int(place)
        down, lower = place - float32(upper), min(upper + 1, rows - 1)
        for c in range(columns):
            one, other = gains[b, 0, upper, c], gains[b, 0, lower, c]
            gain[c] = one + down * (other - one)
            one, other = gains[b, 1, upper, c], gains[b, 1, lower, c]
            offset[c] = one + down * (other - one)
        for c in range(uintp(columns - 1)):
            for i in range(uintp(CELL)):
                right = (float32(i) + float32(0.5)) / float32(CELL)
                by[uintp(CELL) * c + i] = gain[c] + right * (gain[c + ONE] - gain[c])
                plus[uintp(CELL) * c + i] = offset[c] + right * (offset[c + ONE] - offset[c])
        for x in range(uintp(width)):
            even[b, y, x] = image[b, y, x] * by[x + half] + plus[x + half]
