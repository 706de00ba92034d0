"""Compiled loops of semi-global matching; importing this module imports numba.

Every pixel has K candidate disparities ``low[y, x]`` to ``low[y, x] + K - 1``: the whole range, or
a narrow one around an estimate (Rothermel et al., "SURE: photogrammetric surface reconstruction
from imagery", LC3D 2012).
"""

import numba
import numpy as np

from patchmatch.stereo.net import UNIT

COST = 128  # cost of orthogonal features: of equal ones it is 0; of opposite ones 255
BIG = np.float32(1e6)
# All values are finite, so that minima can be vectorised.
_OPTIONS = {"nogil": True, "cache": True, "fastmath": True, "error_model": "numpy"}


@numba.njit(**_OPTIONS)
def matching_cost(features0, features1, low, cost, start, stop):
    """Write (1 - cosine) of the features of the candidates of some rows.

    Args:
        features0: (H, W, C) int8, UNIT times features of length one.
        features1: (H, W, C) int8.
        low: (H, W) int16, the first candidate of each pixel.
        cost: (H, W, K) uint8, written; a candidate outside image 1 costs as
            much as at the nearest pixel of the row where it is inside.
        start: First row.
        stop: Row after the last one.
    """
    width, channels = features0.shape[1:]
    scale = np.float32(COST / UNIT**2)
    for y in range(start, stop):
        for x in range(width):
            for k in range(cost.shape[2]):
                d = min(low[y, x] + k, width - 1)
                x0 = max(x, d)
                dot = np.int32(0)
                for c in range(channels):
                    dot += np.int32(features0[y, x0, c]) * np.int32(features1[y, x0 - d, c])
                value = np.float32(COST) - np.float32(dot) * scale + np.float32(0.5)
                cost[y, x, k] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


@numba.njit(**_OPTIONS)
def _step(cost, before, least, shift, small_change, large_change, spare, path, total):
    """Extend one path by a pixel; return the least cost on it.

    Args:
        cost: (K,) of the pixel.
        before: (K,) of the path up to the pixel before.
        least: The least of ``before``.
        shift: First candidate of this pixel minus that of the pixel before.
        small_change: Cost of a change of the disparity by one.
        large_change: Cost of a larger change.
        spare: (K + 2,), overwritten; its ends are large.
        path: (K,), written.
        total: (K,), to which the path is added.
    """
    count = len(cost)
    if shift == 0:
        spare[1 : count + 1] = before
    else:
        spare[:] = BIG
        first, stop = max(0, -shift), min(count, count - shift)
        if first < stop:
            spare[first + 1 : stop + 1] = before[first + shift : stop + shift]
    jump = least + large_change
    below, same, above = spare[:count], spare[1 : count + 1], spare[2:]
    for i in range(count):
        best = min(min(same[i], jump), min(below[i], above[i]) + small_change)
        path[i] = np.float32(cost[i]) + best - least
    found = BIG
    for i in range(count):
        total[i] += np.uint16(path[i] + np.float32(0.5))
        found = min(found, path[i])
    return found


@numba.njit(**_OPTIONS)
def aggregate(cost, low, gray, small_change, large_change, edge, backwards, total):
    """Add the costs along four paths to every pixel (Hirschmueller, PAMI 2008).

    Args:
        cost: (H, W, K) uint8.
        low: (H, W) int16, the first candidate of each pixel.
        gray: (H, W) float32 in [0, 1]; at an edge, larger changes of the disparity cost less.
        small_change: Cost of a change of the disparity by one.
        large_change: Cost of a larger change.
        edge: large_change is divided by 1 + edge times the difference of gray.
        backwards: Follow the paths from the right and from below, else from the left and above.
        total: (H, W, K) uint16, to which the paths are added, rounded.
    """
    height, width, count = cost.shape
    rows = np.zeros((3, 2, width, count), np.float32)  # paths from above: three directions
    least = np.zeros((3, 2, width), np.float32)
    side = np.zeros((2, count), np.float32)
    spare = np.full(count + 2, BIG, np.float32)
    sign = -1 if backwards else 1
    for row in range(height):
        y = height - 1 - row if backwards else row
        now, last = row % 2, (row + 1) % 2
        side_least = np.float32(0)
        for column in range(width):
            x = width - 1 - column if backwards else column
            for direction in range(4):
                # before: the pixel to the left, or above to the left, above, above to the right
                x0 = x - sign if direction == 3 else x + sign * (direction - 1)
                y0 = y if direction == 3 else y - sign
                inside = 0 <= x0 < width and 0 <= y0 < height
                path = side[column % 2] if direction == 3 else rows[direction, now, x]
                if not inside:
                    found = BIG
                    for i in range(count):
                        path[i] = np.float32(cost[y, x, i])
                        total[y, x, i] += np.uint16(cost[y, x, i])
                        found = min(found, path[i])
                else:
                    change = abs(gray[y, x] - gray[y0, x0])
                    large = max(
                        small_change + np.float32(1), large_change / (np.float32(1) + edge * change)
                    )
                    shift = low[y, x] - low[y0, x0]
                    if direction == 3:
                        before, smallest = side[(column + 1) % 2], side_least
                    else:
                        before, smallest = rows[direction, last, x0], least[direction, last, x0]
                    found = _step(
                        cost[y, x],
                        before,
                        smallest,
                        shift,
                        small_change,
                        large,
                        spare,
                        path,
                        total[y, x],
                    )
                if direction == 3:
                    side_least = found
                else:
                    least[direction, now, x] = found


@numba.njit(**_OPTIONS)
def choose(total, low, disparity, other, margin):
    """Take the best candidate of every pixel of both images.

    Args:
        total: (H, W, K) uint16 costs.
        low: (H, W) int16, the first candidate of each pixel.
        disparity: (H, W) float32, written: of image 0, with a fraction from a parabola.
        other: (H, W) int16, written: of image 1, by the same costs; -1 if nothing points there.
        margin: (H, W) float32, written: the cost of the best other candidate, farther than one
            from the best, minus that of the best.
    """
    height, width, count = total.shape
    for y in range(height):
        least = np.full(width, BIG, np.float32)
        other[y] = -1
        for x in range(width):
            best, at = BIG, 0
            for k in range(count):
                value = np.float32(total[y, x, k])
                x1 = x - low[y, x] - k
                if x1 >= 0 and value < least[x1]:
                    least[x1] = value
                    other[y, x1] = low[y, x] + k
                if x1 >= 0 and value < best:
                    best, at = value, k
            rest = BIG
            for k in range(count):
                if abs(k - at) > 1:
                    rest = min(rest, np.float32(total[y, x, k]))
            margin[y, x] = max(rest - best, np.float32(0)) if rest < BIG else np.float32(0)
            fraction = np.float32(0)
            if 0 < at < count - 1:
                before = np.float32(total[y, x, at - 1]) - best
                after = np.float32(total[y, x, at + 1]) - best
                # equiangular: costs along a path are closer to |x| than to a parabola
                steep = max(before, after)
                if steep > 0:
                    fraction = np.float32(0.5) * (before - after) / steep
            disparity[y, x] = max(np.float32(low[y, x] + at) + fraction, np.float32(0))


@numba.njit(**_OPTIONS)
def check(disparity, other, tolerance, consistent):
    """Check the disparities against those of image 1.

    Args:
        disparity: (H, W) float32.
        other: (H, W) int16, of image 1.
        tolerance: Largest difference in pixels.
        consistent: (H, W) bool, written.
    """
    height, width = disparity.shape
    for y in range(height):
        for x in range(width):
            x1 = round(x - disparity[y, x])
            consistent[y, x] = x1 >= 0 and abs(other[y, x1] - disparity[y, x]) <= tolerance


@numba.njit(**_OPTIONS)
def fill(disparity, consistent):
    """Fill the pixels that are not consistent, in place.

    Such a pixel gets the smaller one of its nearest consistent pixels to the left and to the right:
    an occluded surface lies behind.

    Args:
        disparity: (H, W) float32, modified.
        consistent: (H, W) bool.
    """
    height, width = disparity.shape
    for y in range(height):
        left = np.float32(-1)
        for x in range(width):  # from the left; what has none there is negative
            if consistent[y, x]:
                left = disparity[y, x]
            else:
                disparity[y, x] = left
        right = np.float32(-1)
        for column in range(width):
            x = width - 1 - column
            if consistent[y, x]:
                right = disparity[y, x]
            elif disparity[y, x] < 0 or (0 <= right < disparity[y, x]):
                disparity[y, x] = max(right, np.float32(0))


@numba.njit(**_OPTIONS)
def smooth_filled(disparity, consistent, gray, scale, quantile, reach, step, smoothed, start, stop):
    """Replace the filled pixels of some rows by a quantile of neighbours of a similar gray.

    The weight of a neighbour falls exponentially with the difference of gray (weighted median: Ma
    et al., "Constant time weighted median filtering for stereo matching and beyond", ICCV 2013).
    The quantile is below the median, because an occluded surface lies behind. The histogram has
    bins of one pixel; the result is the mean of the bin with the quantile.

    Args:
        disparity: (H, W) float32, holes filled.
        consistent: (H, W) bool, False where filled.
        gray: (H, W) float32 in [0, 1].
        scale: Difference of gray at which the weight has fallen to 1 / e.
        quantile: In [0, 1]; the median is 0.5.
        reach: Half the side of the window in pixels.
        step: Distance of the neighbours in pixels.
        smoothed: (H, W) float32, written; consistent pixels are copied.
        start: First row.
        stop: Row after the last one.
    """
    height, width = disparity.shape
    count = int(disparity.max()) + 2
    weights, sums = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for y in range(start, stop):
        for x in range(width):
            smoothed[y, x] = disparity[y, x]
            if consistent[y, x]:
                continue
            weights[:], sums[:] = 0, 0
            total = np.float32(0)
            for y1 in range(max(0, y - reach), min(height, y + reach + 1), step):
                for x1 in range(max(0, x - reach), min(width, x + reach + 1), step):
                    weight = np.exp(-abs(gray[y, x] - gray[y1, x1]) / scale)
                    if not consistent[y1, x1]:
                        weight *= np.float32(0.5)
                    at = int(disparity[y1, x1] + np.float32(0.5))
                    weights[at] += weight
                    sums[at] += weight * disparity[y1, x1]
                    total += weight
            reached = np.float32(0)
            for at in range(count):
                reached += weights[at]
                if reached >= quantile * total:
                    smoothed[y, x] = sums[at] / max(weights[at], np.float32(1e-12))
                    break
