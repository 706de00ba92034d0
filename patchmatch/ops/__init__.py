"""Pure tensor functions. Import torch only; hold no state; never move or cast the input."""

from patchmatch.ops.alignment import agreement, aligned, refine_homography
from patchmatch.ops.blocks import block_boxes, block_counts, sliding_row_sums
from patchmatch.ops.camera import camera_motion
from patchmatch.ops.contrast import contrast_and_gain, even_contrast, normalize_contrast
from patchmatch.ops.embedding import (
    UNKNOWN,
    cells_around,
    match_quality,
    matching_cells,
    triplet_loss,
)
from patchmatch.ops.four_points import corner_motion, fit_homography, moved_corners
from patchmatch.ops.handcrafted import opponent_colors, orientation_histograms
from patchmatch.ops.homography import (
    corner_error,
    homography_of_corners,
    image_corners,
    resizing,
    warp_points,
)
from patchmatch.ops.light import Light, matched_light, relight
from patchmatch.ops.lucas_kanade import geman_mcclure, registration_step
from patchmatch.ops.luma import luma
from patchmatch.ops.matching import drop_duplicates, match_descriptors
from patchmatch.ops.neighbours import EIGHT, FOUR, geometric_median, neighbours
from patchmatch.ops.nnf import Field, exact_field, nearest_neighbours, patch_match
from patchmatch.ops.nnf_vote import consistent, copy_centres, vote
from patchmatch.ops.noise import noise_level, noise_residual
from patchmatch.ops.oriented import oriented_patches
from patchmatch.ops.pyramid import pyramid
from patchmatch.ops.qatm import (
    FeatureRows,
    Matched,
    Scores,
    best_matches,
    correlation_scores,
    qatm_scores,
    rank_scores,
)
from patchmatch.ops.ranks import soft_rank
from patchmatch.ops.rotations import (
    circular_harmonics,
    doubled,
    group_filters,
    lifting_filters,
    pool_rotations,
)
from patchmatch.ops.sampling import lagrange_weights, sample_at, warp_by_homography
from patchmatch.ops.search import best_candidates, cost_volume
from patchmatch.ops.shifts import SHIFTS, STILL, shift_similarity, shifted_products, window_moments
from patchmatch.ops.votes import Fit, box_mean, cast_votes, fit_scaled_shift

__all__ = [
    "EIGHT",
    "FOUR",
    "SHIFTS",
    "STILL",
    "UNKNOWN",
    "FeatureRows",
    "Field",
    "Fit",
    "Light",
    "Matched",
    "Scores",
    "agreement",
    "aligned",
    "best_candidates",
    "best_matches",
    "block_boxes",
    "block_counts",
    "box_mean",
    "camera_motion",
    "cast_votes",
    "cells_around",
    "circular_harmonics",
    "consistent",
    "contrast_and_gain",
    "copy_centres",
    "corner_error",
    "corner_motion",
    "correlation_scores",
    "cost_volume",
    "doubled",
    "drop_duplicates",
    "even_contrast",
    "exact_field",
    "fit_homography",
    "fit_scaled_shift",
    "geman_mcclure",
    "geometric_median",
    "group_filters",
    "homography_of_corners",
    "image_corners",
    "lagrange_weights",
    "lifting_filters",
    "luma",
    "match_descriptors",
    "match_quality",
    "matched_light",
    "matching_cells",
    "moved_corners",
    "nearest_neighbours",
    "neighbours",
    "noise_level",
    "noise_residual",
    "normalize_contrast",
    "opponent_colors",
    "orientation_histograms",
    "oriented_patches",
    "patch_match",
    "pool_rotations",
    "pyramid",
    "qatm_scores",
    "rank_scores",
    "refine_homography",
    "registration_step",
    "relight",
    "resizing",
    "sample_at",
    "shift_similarity",
    "shifted_products",
    "sliding_row_sums",
    "soft_rank",
    "triplet_loss",
    "vote",
    "warp_by_homography",
    "warp_points",
    "window_moments",
]
