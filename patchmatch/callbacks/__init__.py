"""Writers: what a matcher predicted becomes pictures, tables and a summary."""

from patchmatch.callbacks.base import PredictionWriter
from patchmatch.callbacks.change_boxes import ChangeBoxes

__all__ = ["ChangeBoxes", "PredictionWriter"]
