"""Networks: plain ``nn.Module``s that know nothing of Lightning."""

from patchmatch.nets.motion import Judged, Motion, MotionNet, Refined
from patchmatch.nets.shift import CLASSES, Described, ShiftNet

__all__ = ["CLASSES", "Described", "Judged", "Motion", "MotionNet", "Refined", "ShiftNet"]
