"""Image pyramid and local contrast normalisation."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit

NOISE_TILE = 4  # pixels: side of the tiles of the noise map


@jit
def halve(image, half):
    """Average 2x2 pixels; an odd last row or column is replicated.

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


@jit
def local_contrast_normalization(image, window, softening, noise, normalized, noise_map):
    """Subtract the local mean of every pixel and divide by the local standard deviation.

    Args:
        image: (H, W).
        window: Tuple as long as the side of the window, odd; pixels beyond the border are ignored.
        softening: Added to the standard deviation in quadrature.
        noise: Standard deviation of the noise in the image.
        normalized: (H, W), written.
        noise_map: (ceil(H / 4), ceil(W / 4)), written: mean standard deviation of the noise after
            normalisation in each tile; the border is replicated.
    """
    height, width = image.shape
    rows, columns = noise_map.shape
    reach = len(window) // 2
    values = np.zeros(
        width + 2 * reach
    )  # sums of columns, in double precision because rows are subtracted
    squares = np.zeros(width + 2 * reach)
    single = np.zeros((2, width + 2 * reach), float32)
    share = np.empty(width, float32)  # one over the number of columns inside
    for x in range(width):
        share[x] = 1 / (min(x + reach, width - 1) - max(x - reach, 0) + 1)
    gain = np.empty(columns * NOISE_TILE, float32)
    first = uintp(reach)
    noise_map[:] = 0
    for y in range(min(reach, height)):
        _add_row(image[y], 1, first, values, squares)
    for y in range(height):
        if y + reach < height:
            _add_row(image[y + reach], 1, first, values, squares)
        if y > reach:
            _add_row(image[y - reach - 1], -1, first, values, squares)
        lines = float32(min(y + reach, height - 1) - max(y - reach, 0) + 1)
        for x in range(uintp(len(values))):
            single[0, x], single[1, x] = values[x], squares[x]
        for x in range(uintp(width)):
            total, square = float32(0), float32(0)
            for i in range(uintp(len(window))):
                total += single[0, x + i]
                square += single[1, x + i]
            mean = total * share[x] / lines
            variance = max(square * share[x] / lines - mean * mean, float32(0))
            gain[x] = float32(1) / np.sqrt(variance + softening * softening)
            normalized[y, x] = (image[y, x] - mean) * gain[x]
        gain[width:] = gain[width - 1]
        repeats = float32(1 if y < height - 1 else NOISE_TILE * rows - y)
        for c in range(uintp(columns)):
            x = uintp(NOISE_TILE) * c
            four = gain[x] + gain[x + ONE] + gain[x + ONE + ONE] + gain[x + ONE + ONE + ONE]
            noise_map[y // NOISE_TILE, c] += four * repeats * noise * float32(1 / NOISE_TILE**2)


@jit
def _add_row(row, sign, first, values, squares):
    """Add a row and its square to sums; with a sign of -1 subtract them."""
    for x in range(uintp(len(row))):
        pixel = float(row[x])
        values[first + x] += sign * pixel
        squares[first + x] += sign * pixel * pixel
