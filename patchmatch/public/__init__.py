"""The Python API: one function per capability, on the same code as the command line."""

from patchmatch.public.fields import nearest_neighbour_field, vote
from patchmatch.public.motion import (
    load_motion_matcher,
    load_shift_matcher,
    measure_flow,
    measure_motion,
    predict_frames,
)
from patchmatch.public.objects import track_objects
from patchmatch.public.pairs import match_images, refine_matches
from patchmatch.public.stereo import measure_disparity
from patchmatch.public.templates import match_template

__all__ = [
    "load_motion_matcher",
    "load_shift_matcher",
    "match_images",
    "match_template",
    "measure_disparity",
    "measure_flow",
    "measure_motion",
    "nearest_neighbour_field",
    "predict_frames",
    "refine_matches",
    "track_objects",
    "vote",
]
