"""Compiled noise level of an image, and statistics of windows."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit, kernel
from patchmatch.motion.kernels.contrast import NOISE_TILE
from patchmatch.motion.kernels.cropping import SUBWINDOWS, window_corner

JPEG_BLOCK = 8  # pixels
# Standard deviation of a difference to noise that is interpolated between four pixels, or is not:
INTERPOLATED, INTEGER = float32(np.sqrt(1.25)), float32(np.sqrt(2.0))


@jit
def noise_level(image, tiles, limits, quantile, deviation, row_step, largest_step, jpeg_factor):
    """Return the standard deviation of the noise, as ``patchmatch.motion.noise.noise_level``.

    Args:
        image: (H, W).
        tiles: Side of the tiles and their spacing, in pixels.
        limits: (2,), tiles with a pixel below or above are saturated and ignored.
        quantile: Share of the tiles that count as free of texture.
        deviation: Of noise whose mean absolute second difference is 1.
        row_step: Distance of the rows that are used for steps in x.
        largest_step: Larger steps are ignored.
        jpeg_factor: Standard deviation of JPEG noise over the blockiness.
    """
    sums = np.empty((2, JPEG_BLOCK), float32)  # of the steps in x and y, by phase
    counts = np.empty((2, JPEG_BLOCK), float32)
    white = deviation * _second_differences(image, tiles[0], tiles[1], limits, quantile)
    _add_steps(image, row_step, largest_step, sums, counts)
    jpeg = jpeg_factor * _excess(sums, counts)
    return np.sqrt(white * white + jpeg * jpeg)


@kernel
def window_statistics(
    tensor, noise0, noise1, grid, size, block, side, min_gradient, clip, noise_variance, texture,
    noise, interpolated, integer,
):  # fmt: skip
    """Write texture and noise of each subwindow, and the residual that noise causes.

    Args:
        tensor: (N, 16, 3), structure tensors.
        noise0: (B, ceil(H / 4), ceil(W / 4)), standard deviation of the noise in tiles of 4x4
            pixels of the earlier frames.
        noise1: The same for the later frames.
        grid: (2,) int64, rows and columns of the blocks of a frame.
        size: Height and width of the images.
        block: Side of a block in pixels.
        side: Side of its window in pixels.
        min_gradient: Added to the root mean square gradient before the logarithm.
        clip: Upper limit of a difference.
        noise_variance: (N, 16), written: mean variance of both frames at the centre.
        texture: (N, 16), written: logarithm of the root mean square gradient.
        noise: (N, 16), written: square root of the variance.
        interpolated: (N, 16), written: mean clipped difference by noise at a displacement between
            four pixels.
        integer: (N, 16), written: the same at an integer displacement.
    """
    height, width = noise0.shape[1:]
    pitch = side // SUBWINDOWS
    for n in range(len(tensor)):
        b, left, top = window_corner(n, grid, size, block, side)
        for subwindow in range(SUBWINDOWS**2):
            down, right = divmod(subwindow, SUBWINDOWS)
            y, x = top + down * pitch + pitch // 2, left + right * pitch + pitch // 2
            y, x = min(max(y, 0) // NOISE_TILE, height - 1), min(max(x, 0) // NOISE_TILE, width - 1)
            variance = float32(0.5) * (noise0[b, y, x] ** 2 + noise1[b, y, x] ** 2)
            deviation = np.sqrt(variance)
            gradient = np.sqrt(tensor[n, subwindow, 0] + tensor[n, subwindow, 2])
            noise_variance[n, subwindow], noise[n, subwindow] = variance, deviation
            texture[n, subwindow] = np.log(gradient + min_gradient)
            interpolated[n, subwindow] = _mean_clipped(INTERPOLATED * deviation, clip)
            integer[n, subwindow] = _mean_clipped(INTEGER * deviation, clip)


@jit
def _second_differences(image, side, step, limits, quantile):
    """Return a quantile of the mean absolute second differences of tiles; 0 without tiles."""
    height, width = image.shape
    rows, columns = 1 + (height - side) // step, 1 + (width - side) // step
    levels = np.empty(rows * columns, float32)
    total = np.empty(width, float32)
    lowest = np.empty(width, float32)
    highest = np.empty(width, float32)
    two = float32(2)
    found = 0
    for row in range(rows):
        total[:], lowest[:], highest[:] = 0, 1, 0
        for y in range(uintp(row * step), uintp(row * step + side)):
            for x in range(uintp(width)):
                lowest[x] = min(lowest[x], image[y, x])
            for x in range(uintp(width)):
                highest[x] = max(highest[x], image[y, x])
        for y in range(uintp(row * step), uintp(row * step + side - 2)):
            for x in range(uintp(width - 2)):  # second differences in y of those in x
                low, middle, right = y + ONE, x + ONE, x + ONE + ONE
                first = image[y, x] - two * image[y, middle] + image[y, right]
                second = image[low, x] - two * image[low, middle] + image[low, right]
                low += ONE
                third = image[low, x] - two * image[low, middle] + image[low, right]
                total[x] += abs(first - two * second + third)
        for column in range(columns):
            level, darkest, brightest = float32(0), float32(1), float32(0)
            for x in range(uintp(column * step), uintp(column * step + side - 2)):
                level += total[x]
            for x in range(uintp(column * step), uintp(column * step + side)):
                darkest, brightest = min(darkest, lowest[x]), max(brightest, highest[x])
            if darkest >= limits[0] and brightest <= limits[1]:
                levels[found] = level / float32((side - 2) ** 2)
                found += 1
    if not found:
        return float32(0)
    position = quantile * float32(found - 1)
    above = int(np.ceil(position))
    ranked = np.sort(levels[:found])
    if not above:
        return ranked[0]
    below = ranked[above - 1]
    return ranked[above] + (float32(above) - position) * (below - ranked[above])


@jit
def _add_steps(image, row_step, largest_step, sums, counts):
    """Write sums and counts of the small steps between pixels in x and y, by phase."""
    height, width = image.shape
    lengths = np.empty(width, float32)
    total = np.empty(width, float32)
    count = np.empty(width, float32)
    sums[:], counts[:] = 0, 0
    total[:], count[:] = 0, 0
    for y in range(uintp(0), uintp(height), uintp(row_step)):
        for x in range(uintp(width - 1)):
            lengths[x] = abs(image[y, x + ONE] - image[y, x])
        for x in range(uintp(width - 1)):
            total[x] += lengths[x] if lengths[x] < largest_step else float32(0)
        for x in range(uintp(width - 1)):
            count[x] += float32(1) if lengths[x] < largest_step else float32(0)
    for x in range(width - 1):
        sums[0, x % JPEG_BLOCK] += total[x]
        counts[0, x % JPEG_BLOCK] += count[x]
    for y in range(height - 1):
        above, below = uintp(y), uintp(y + 1)
        for x in range(uintp(width)):
            lengths[x] = abs(image[below, x] - image[above, x])
        length, number = float32(0), float32(0)
        for x in range(uintp(width)):
            length += lengths[x] if lengths[x] < largest_step else float32(0)
        for x in range(uintp(width)):
            number += float32(1) if lengths[x] < largest_step else float32(0)
        sums[1, y % JPEG_BLOCK] += length
        counts[1, y % JPEG_BLOCK] += number


@jit
def _excess(sums, counts):
    """Return the excess of the largest mean step, as in ``patchmatch.motion.noise``."""
    found = float32(np.inf)
    for axis in range(len(sums)):
        ranked = np.sort(sums[axis] / np.maximum(counts[axis], float32(1)))
        second = ranked[len(ranked) - 2]
        found = min(found, ranked[len(ranked) - 1] - second - (second - ranked[0]))
    return max(found, float32(0))


@jit
def _mean_clipped(deviation, clip):
    """Return the mean of min(abs(x), clip) for normal x of a standard deviation.

    The complementary error function is a polynomial (Abramowitz and Stegun, "Handbook of
    mathematical functions", 7.1.26) with an error of 1.5e-7.
    """
    deviation = deviation / clip + float32(1e-4)
    limit = float32(np.sqrt(0.5)) / deviation
    if limit > float32(4):  # nothing is clipped
        return clip * deviation * float32(np.sqrt(2 / np.pi))
    bell = np.exp(-limit * limit)
    t = float32(1) / (float32(1) + float32(0.3275911) * limit)
    tail = float32(1.061405429) * t - float32(1.453152027)
    tail = ((tail * t + float32(1.421413741)) * t - float32(0.284496736)) * t
    tail = (tail + float32(0.254829592)) * t * bell
    return clip * (deviation * float32(np.sqrt(2 / np.pi)) * (float32(1) - bell) + tail)
