"""Noise level of an image, and the difference that noise causes between two windows."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compiling import ONE, helper, kernel
from patchmatch.motion.kernels.contrast import CELL
from patchmatch.motion.kernels.cutting import CELLS, corner_of

SQUARE = 8  # pixels: side of the squares of JPEG
# deviations of the difference to noise blended from four pixels, and from one
LEAST, MOST = float32(np.sqrt(1.25)), float32(np.sqrt(2.0))


@helper
def noise_level(image, tiles, cut_off, quiet, deviation, sparse, edge, quantised):
    """Estimate the standard deviation of the noise, as ``ops.noise_level`` does.

    Args:
        image: (H, W).
        tiles: Their side in pixels, and pixels from tile to tile.
        cut_off: (2,), a tile with a pixel below or above does not count.
        quiet: Share of the tiles that is taken for plain.
        deviation: Of noise whose mean absolute second difference is 1.
        sparse: Of so many rows one tells of steps in x.
        edge: A step of so much does not count.
        quantised: Deviations of what JPEG left out, in units of ``ops.squareness``.
    """
    sums = np.empty((2, SQUARE), float32)  # lengths of steps in x and in y, at every eighth place
    counts = np.empty((2, SQUARE), float32)
    bent = deviation * _bent(image, tiles[0], tiles[1], cut_off, quiet)
    _add_steps(image, sparse, edge, sums, counts)
    squares = quantised * _excess(sums, counts)
    return np.sqrt(bent * bent + squares * squares)


@kernel
def cell_statistics(
    tensor, noise0, noise1, grid, size, block, side, added, clip, loudness, texture, noise,
    quiet, noisy,
):  # fmt: skip
    """Tell how much texture and noise is in the cells of windows, and what noise leaves of them.

    Args:
        tensor: (N, 16, 3), means of the gradients' products xx, xy and yy.
        noise0: (B, ceil(H / 4), ceil(W / 4)), standard deviation of the noise in cells of 4x4
            pixels of the earlier frames.
        noise1: Of the later ones.
        grid: (2,) int64, rows and columns of the blocks of a frame.
        size: Height and width of the images, whose blocks and windows are meant.
        block: Side of a block in pixels.
        side: Of the window around its centre.
        added: To the root mean square gradient, before its logarithm.
        clip: Differences count no more than this.
        loudness: (N, 16), written: mean variance of the noise of both frames, in the middle.
        texture: (N, 16), written: logarithm of the root mean square gradient.
        noise: (N, 16), written: square root of the loudness.
        quiet: (N, 16), written: what noise leaves between four pixels, as
            ``patchmatch.motion.noise.noise_residual`` blends it.
        noisy: (N, 16), written: what it leaves at whole pixels.
    """
    height, width = noise0.shape[1:]
    pitch = side // CELLS
    for n in range(len(tensor)):
        b, left, top = corner_of(n, grid, size, block, side)
        for cell in range(CELLS**2):
            down, right = divmod(cell, CELLS)
            y, x = top + down * pitch + pitch // 2, left + right * pitch + pitch // 2
            y, x = min(max(y, 0) // CELL, height - 1), min(max(x, 0) // CELL, width - 1)
            loudness[n, cell] = float32(0.5) * (noise0[b, y, x] ** 2 + noise1[b, y, x] ** 2)
            spread = np.sqrt(loudness[n, cell])
            gradient = np.sqrt(tensor[n, cell, 0] + tensor[n, cell, 2])
            texture[n, cell], noise[n, cell] = np.log(gradient + added), spread
            quiet[n, cell] = _clipped(LEAST * spread, clip)
            noisy[n, cell] = _clipped(MOST * spread, clip)


@helper
def _bent(image, side, step, cut_off, share):
    """Return the quantile of the tiles' mean absolute second differences; 0 of none."""
    height, width = image.shape
    rows, columns = 1 + (height - side) // step, 1 + (width - side) // step
    levels = np.empty(rows * columns, float32)
    total = np.empty(width, float32)
    least = np.empty(width, float32)
    most = np.empty(width, float32)
    two = float32(2)
    found = 0
    for row in range(rows):
        total[:], least[:], most[:] = 0, 1, 0
        for y in range(uintp(row * step), uintp(row * step + side)):
            for x in range(uintp(width)):
                least[x] = min(least[x], image[y, x])
            for x in range(uintp(width)):
                most[x] = max(most[x], image[y, x])
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
                darkest, brightest = min(darkest, least[x]), max(brightest, most[x])
            if darkest >= cut_off[0] and brightest <= cut_off[1]:
                levels[found] = level / float32((side - 2) ** 2)
                found += 1
    if not found:
        return float32(0)
    place = share * float32(found - 1)
    above = int(np.ceil(place))
    ranked = np.sort(levels[:found])
    if not above:
        return ranked[0]
    below = ranked[above - 1]
    return ranked[above] + (float32(above) - place) * (below - ranked[above])


@helper
def _add_steps(image, sparse, edge, sums, counts):
    """Write lengths of the slight steps in x and in y at every eighth place, and how many."""
    height, width = image.shape
    lengths = np.empty(width, float32)
    total = np.empty(width, float32)
    count = np.empty(width, float32)
    sums[:], counts[:] = 0, 0
    total[:], count[:] = 0, 0
    for y in range(uintp(0), uintp(height), uintp(sparse)):
        for x in range(uintp(width - 1)):
            lengths[x] = abs(image[y, x + ONE] - image[y, x])
        for x in range(uintp(width - 1)):
            total[x] += lengths[x] if lengths[x] < edge else float32(0)
        for x in range(uintp(width - 1)):
            count[x] += float32(1) if lengths[x] < edge else float32(0)
    for x in range(width - 1):
        sums[0, x % SQUARE] += total[x]
        counts[0, x % SQUARE] += count[x]
    for y in range(height - 1):
        above, below = uintp(y), uintp(y + 1)
        for x in range(uintp(width)):
            lengths[x] = abs(image[below, x] - image[above, x])
        length, number = float32(0), float32(0)
        for x in range(uintp(width)):
            length += lengths[x] if lengths[x] < edge else float32(0)
        for x in range(uintp(width)):
            number += float32(1) if lengths[x] < edge else float32(0)
        sums[1, y % SQUARE] += length
        counts[1, y % SQUARE] += number


@helper
def _excess(sums, counts):
    """Return how far one mean step is above the others, as ``ops.noise.squareness`` does."""
    found = float32(np.inf)
    for axis in range(len(sums)):
        ranked = np.sort(sums[axis] / np.maximum(counts[axis], float32(1)))
        second = ranked[len(ranked) - 2]
        found = min(found, ranked[len(ranked) - 1] - second - (second - ranked[0]))
    return max(found, float32(0))


@helper
def _clipped(spread, clip):
    """Return the mean of min(abs(x), clip) of normal x of some standard deviation.

    With a polynomial for the complementary error function (Abramowitz and Stegun, "Handbook of
    mathematical functions", 7.1.26), right to 1.5e-7.
    """
    spread = spread / clip + float32(1e-4)
    place = float32(np.sqrt(0.5)) / spread
    if place > float32(4):  # nothing is clipped
        return clip * spread * float32(np.sqrt(2 / np.pi))
    bell = np.exp(-place * place)
    t = float32(1) / (float32(1) + float32(0.3275911) * place)
    tail = float32(1.061405429) * t - float32(1.453152027)
    tail = ((tail * t + float32(1.421413741)) * t - float32(0.284496736)) * t
    tail = (tail + float32(0.254829592)) * t * bell
    return clip * (spread * float32(np.sqrt(2 / np.pi)) * (float32(1) - bell) + tail)
