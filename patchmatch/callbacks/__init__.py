"""Writers: what a matcher predicted becomes pictures, tables and a summary."""

from patchmatch.callbacks.base import PredictionWriter
from patchmatch.callbacks.change_boxes import ChangeBoxes
from patchmatch.callbacks.detections import TemplateBoxes
from patchmatch.callbacks.matches import PairMatches
from patchmatch.callbacks.parts import Part, Parts
from patchmatch.callbacks.reconstructions import Reconstructions

__all__ = [
    "ChangeBoxes",
    "PairMatches",
    "Part",
    "Parts",
    "PredictionWriter",
    "Reconstructions",
    "TemplateBoxes",
]
