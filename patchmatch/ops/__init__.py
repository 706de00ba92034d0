"""Pure tensor functions. Import torch only; hold no state; never move or cast the input."""

from patchmatch.ops.blocks import block_boxes, block_counts, sliding_row_sums
from patchmatch.ops.camera import camera_motion
from patchmatch.ops.lucas_kanade import registration_step
from patchmatch.ops.neighbours import EIGHT, FOUR, geometric_median, neighbours
from patchmatch.ops.noise import noise_level, noise_residual
from patchmatch.ops.pyramid import contrast_and_gain, normalize_contrast, pyramid
from patchmatch.ops.qatm import Matched, correlation_quality, qatm_quality, rank_quality, soft_rank
from patchmatch.ops.search import best_candidates, cost_volume
from patchmatch.ops.shifts import SHIFTS, shift_similarity, shifted_products, window_moments
from patchmatch.ops.votes import Fit, box_mean, cast_votes, fit_scaled_shift

__all__ = [
    "EIGHT",
    "FOUR",
    "SHIFTS",
    "Fit",
    "Matched",
    "best_candidates",
    "block_boxes",
    "block_counts",
    "box_mean",
    "camera_motion",
    "cast_votes",
    "contrast_and_gain",
    "correlation_quality",
    "cost_volume",
    "fit_scaled_shift",
    "geometric_median",
    "neighbours",
    "noise_level",
    "noise_residual",
    "normalize_contrast",
    "pyramid",
    "qatm_quality",
    "rank_quality",
    "registration_step",
    "shift_similarity",
    "shifted_products",
    "sliding_row_sums",
    "soft_rank",
    "window_moments",
]
