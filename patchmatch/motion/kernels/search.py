"""Compiled exhaustive block search on the coarsest pyramid level."""

import numpy as np
from numpy import float32, uintp

from patchmatch.motion.kernels.compilation import ONE, jit, kernel
from patchmatch.motion.kernels.grid import block_position, block_start


@kernel
def block_costs(part, image0, image1, side, clip, noise, pixels, zero_motion_credit, cost):
    """Write the mean absolute difference of blocks under every integer displacement.

    Args:
        part: First row of blocks and the one after the last, of which the results are written.
        image0: (B, H, W), the image with the blocks.
        image1: (B, H + 2 radius, W + 2 radius), the image that is searched, its border replicated.
        side: Side of a block in pixels.
        clip: Upper limit of a difference.
        noise: (B, _, _), standard deviation of the noise in tiles of image 0.
        pixels: Side of a tile in pixels.
        zero_motion_credit: Times the noise, subtracted from the cost of zero motion.
        cost: (B, R, C, D), written; D = (2 radius + 1)^2, row by row.
    """
    rows, columns, displacements = cost.shape[1:]
    span = round(np.sqrt(displacements))
    height, width = image0.shape[1], uintp(image0.shape[2])
    total = np.empty(width, float32)
    for row in range(part[0], part[1]):
        b, r = divmod(row, rows)
        top = block_start(r, height, side)
        for d in range(displacements):
            dy, dx = divmod(d, span)
            total[:] = 0
            shift = uintp(dx)
            for y in range(top, top + side):
                for x in range(width):
                    total[x] += min(abs(image1[b, y + dy, x + shift] - image0[b, y, x]), clip)
            for c in range(columns):
                found = float32(0)
                left = block_start(c, len(total), side)
                for x in range(left, left + side):
                    found += total[x]
                cost[b, r, c, d] = found / float32(side * side)
        for c in range(columns):
            left = block_start(c, len(total), side)
            y, x = (top + side // 2) // pixels, (left + side // 2) // pixels
            cost[b, r, c, displacements // 2] -= zero_motion_credit * noise[b, y, x]


@kernel
def deepest_minima(part, cost, length, best):
    """Write the deepest local minima of the costs, averaged with those of the blocks around.

    Args:
        part: First block and the one after the last, of which the results are written.
        cost: (B, R, C, D), from ``block_costs``.
        length: (D,), added to the costs, to order equal ones.
        best: (N, K, 2), written: dx and dy in pixels, with subpixels by a parabola.
    """
    rows, columns, displacements = cost.shape[1:]
    span = round(np.sqrt(displacements))
    mean = np.empty(displacements, float32)
    ranked = np.empty(displacements, float32)
    padded = np.full((span + 2, span + 2), np.inf, float32)
    lowest = np.empty(span, float32)
    minima = np.empty(displacements, np.int64)
    half, ninth = float32(0.5), float32(1 / 9)
    for n in range(part[0], part[1]):
        b, r, c = block_position(n, rows, columns)
        mean[:] = 0
        for row in (max(r - 1, 0), r, min(r + 1, rows - 1)):
            for column in (max(c - 1, 0), c, min(c + 1, columns - 1)):
                for d in range(uintp(displacements)):
                    mean[d] += cost[b, row, column, d]
        for d in range(displacements):
            mean[d] = half * (mean[d] * ninth + cost[b, r, c, d])
        for y in range(span):
            for x in range(span):
                padded[y + 1, x + 1] = mean[y * span + x]
        found = 0
        for y in range(uintp(span)):
            top, middle, low = y, y + ONE, y + ONE + ONE
            for x in range(uintp(span)):
                left, right = x, x + ONE + ONE
                over = min(padded[top, left], padded[top, x + ONE], padded[top, right])
                beside = min(padded[middle, left], padded[middle, right])
                under = min(padded[low, left], padded[low, x + ONE], padded[low, right])
                lowest[x] = min(over, beside, under)
            for x in range(span):
                d = y * span + x
                ranked[d] = mean[d] + length[d]
                if mean[d] <= lowest[x]:
                    minima[found] = d
                    found += 1
        for k in range(best.shape[1]):
            if k < found:
                at = k
                for i in range(k + 1, found):
                    if ranked[minima[i]] < ranked[minima[at]]:
                        at = i
                d = minima[at]
                minima[at] = minima[k]
            else:  # too few minima: the least of the other costs
                d = np.argmin(ranked)
            ranked[d] = np.inf
            y, x = divmod(d, span)
            before = mean[y * span + max(x - 1, 0)]
            after = mean[y * span + min(x + 1, span - 1)]
            across = _vertex(before, mean[d], after)
            before = mean[max(y - 1, 0) * span + x]
            after = mean[min(y + 1, span - 1) * span + x]
            along = _vertex(before, mean[d], after)
            best[n, k, 0] = float32(x - span // 2) + across
            best[n, k, 1] = float32(y - span // 2) + along


@jit
def _vertex(before, middle, after):
    """Return the minimum of a parabola through three costs, at most half a step away."""
    bend = max(before + after - middle - middle, float32(1e-3))
    position = (before - after) / (bend + bend)
    return min(max(position, float32(-0.5)), float32(0.5))
