"""How noisy an image is, and what noise alone leaves between two windows."""

import numpy as np
from numpy import float32, uintp

from patchmatch.kernels.compiling import ONE, helper, kernel

# deviations of the difference to noise blended from four pixels, and from one
LEAST, MOST = float32(np.sqrt(1.25)), float32(np.sqrt(2.0))


@kernel
def quietest_tiles(image, side, step, cut_off, share, bent):
    """Tell how bent the quietest tiles are, of which ``ops.noise_level`` makes the noise.

    Args:
        image: (B, H, W).
        side: Side of the tiles in pixels.
        step: Pixels from tile to tile.
        cut_off: (2,), a tile with a pixel below or above does not count.
        share: Of the tiles, that is taken for plain.
        bent: (B,), written: mean absolute second difference in the last of those; 0 of none.
    """
    height, width = image.shape[1:]
    rows, columns = 1 + (height - side) // step, 1 + (width - side) // step
    levels = np.empty(rows * columns, float32)
    total = np.empty(width, float32)
    least = np.empty(width, float32)
    most = np.empty(width, float32)
    two = float32(2)
    for b in range(len(image)):
        found = 0
        for row in range(rows):
            total[:], least[:], most[:] = 0, 1, 0
            for y in range(uintp(row * step), uintp(row * step + side)):
                for x in range(uintp(width)):
                    least[x] = min(least[x], image[b, y, x])
                for x in range(uintp(width)):
                    most[x] = max(most[x], image[b, y, x])
            for y in range(uintp(row * step), uintp(row * step + side - 2)):
                for x in range(uintp(width - 2)):  # second differences in y of those in x
                    low, middle, right = y + ONE, x + ONE, x + ONE + ONE
                    first = image[b, y, x] - two * image[b, y, middle] + image[b, y, right]
                    second = image[b, low, x] - two * image[b, low, middle] + image[b, low, right]
                    low += ONE
                    third = image[b, low, x] - two * image[b, low, middle] + image[b, low, right]
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
        bent[b] = 0
        if found:
            place = share * float32(found - 1)
            above = int(np.ceil(place))
            ranked = np.partition(levels[:found], above)
            bent[b] = ranked[above]
            if above:
                below = ranked[:above].max()
                bent[b] += (float32(above) - place) * (below - ranked[above])


@kernel
def slight_steps(image, sparse, edge, sums, counts):
    """Add up the steps from pixel to pixel, of which ``ops.squareness`` makes what JPEG left out.

    Args:
        image: (B, H, W).
        sparse: Of so many rows one tells of steps in x.
        edge: A step of so much does not count.
        sums: (B, 2, 8), written: lengths of the steps in x and in y, at every eighth place.
        counts: (B, 2, 8), written: how many.
    """
    height, width = image.shape[1:]
    square = sums.shape[2]
    lengths = np.empty(width, float32)
    total = np.empty(width, float32)
    count = np.empty(width, float32)
    sums[:], counts[:] = 0, 0
    for b in range(len(image)):
        total[:], count[:] = 0, 0
        for y in range(uintp(0), uintp(height), uintp(sparse)):
            for x in range(uintp(width - 1)):
                lengths[x] = abs(image[b, y, x + ONE] - image[b, y, x])
            for x in range(uintp(width - 1)):
                total[x] += lengths[x] if lengths[x] < edge else float32(0)
            for x in range(uintp(width - 1)):
                count[x] += float32(1) if lengths[x] < edge else float32(0)
        for x in range(width - 1):
            sums[b, 0, x % square] += total[x]
            counts[b, 0, x % square] += count[x]
        for y in range(height - 1):
            above, below = uintp(y), uintp(y + 1)
            for x in range(uintp(width)):
                lengths[x] = abs(image[b, below, x] - image[b, above, x])
            length, number = float32(0), float32(0)
            for x in range(uintp(width)):
                length += lengths[x] if lengths[x] < edge else float32(0)
            for x in range(uintp(width)):
                number += float32(1) if lengths[x] < edge else float32(0)
            sums[b, 1, y % square] += length
            counts[b, 1, y % square] += number


@kernel
def noise_bounds(loudness, clip, quiet, noisy):
    """Tell what noise leaves of differences, as ``patchmatch.ops.noise_residual`` blends it.

    Args:
        loudness: (N, 16), variance of the noise in each cell.
        clip: Differences count no more than this.
        quiet: (N, 16), written: what is left between four pixels.
        noisy: (N, 16), written: what is left at whole pixels.
    """
    for n in range(loudness.shape[0]):
        for cell in range(loudness.shape[1]):
            spread = np.sqrt(loudness[n, cell])
            quiet[n, cell] = _clipped(LEAST * spread, clip)
            noisy[n, cell] = _clipped(MOST * spread, clip)


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
