"""Writers: what a matcher predicted becomes pictures, tables and a summary."""

from patchmatch.callbacks.base import PredictionWriter
from patchmatch.callbacks.change_boxes import ChangeBoxes
from patchmatch.callbacks.detections import TemplateBoxes
from patchmatch.callbacks.parts import Part, Parts

__all__ = ["ChangeBoxes", "Part", "Parts", "PredictionWriter", "TemplateBoxes"]
