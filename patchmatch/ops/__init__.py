"""Pure tensor functions. Import torch only; hold no state; never move or cast the input."""

from patchmatch.ops.blocks import block_boxes, block_counts, block_sums
from patchmatch.ops.shifts import SHIFTS, shift_similarity, shifted_products, window_moments

__all__ = [
    "SHIFTS",
    "block_boxes",
    "block_counts",
    "block_sums",
    "shift_similarity",
    "shifted_products",
    "window_moments",
]
