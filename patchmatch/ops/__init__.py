"""Pure tensor functions. Import torch only; hold no state; never move or cast the input."""

from patchmatch.ops.blocks import block_boxes, block_counts, sliding_row_sums
from patchmatch.ops.shifts import SHIFTS, shift_similarity, shifted_products, window_moments

__all__ = [
    "SHIFTS",
    "block_boxes",
    "block_counts",
    "shift_similarity",
    "shifted_products",
    "sliding_row_sums",
    "window_moments",
]
