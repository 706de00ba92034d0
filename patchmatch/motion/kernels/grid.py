"""Numbering of blocks over all frames, and counts of their candidates."""

from patchmatch.motion.kernels.compilation import jit


@jit
def block_position(n, rows, columns):
    """Return frame, row and column of a block."""
    b, rest = divmod(n, rows * columns)
    r, c = divmod(rest, columns)
    return b, r, c


@jit
def block_start(index, length, block):
    """Return the first pixel of a block along one side; the last block ends at the border."""
    return min(index * block, length - block)


@jit
def count_unique(unique):
    """Return the number of unique candidates of a block, which come first."""
    count = 0
    while count < len(unique) and unique[count]:
        count += 1
    return count
