"""What a matcher hands to a writer: frozen dataclasses of tensors and names, always on the CPU."""

from patchmatch.results.dense import DenseMatches, NearestNeighbourField, Step
from patchmatch.results.motion import STILL_BELOW, FrameChanges, Kind, PatchMatches, kind_of
from patchmatch.results.pairs import Matches
from patchmatch.results.templates import Detections, SceneDetections

__all__ = [
    "STILL_BELOW",
    "DenseMatches",
    "Detections",
    "FrameChanges",
    "Kind",
    "Matches",
    "NearestNeighbourField",
    "PatchMatches",
    "SceneDetections",
    "Step",
    "kind_of",
]
