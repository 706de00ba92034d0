"""Numbering of blocks over all frames, and counts of their candidates."""

from patchmatch.motion.kernels.compiling import helper


@helper
def place_of(n, rows, columns):
    """Return the frame, the row and the column of a block."""
    b, rest = divmod(n, rows * columns)
    r, c = divmod(rest, columns)
    return b, r, c


@helper
def start_of(index, length, block):
    """Return the first pixel of a block along one side; the last block ends at the border."""
    return min(index * block, length - block)


@helper
def count_fresh(fresh):
    """Return how many are judged, of which the others are the last ones."""
    count = 0
    while count < len(fresh) and fresh[count]:
        count += 1
    return count
