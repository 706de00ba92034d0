"""Networks: plain ``nn.Module``s that know nothing of Lightning."""

from patchmatch.nets.backbones import (
    Backbone,
    HandcraftedFeatures,
    NetworkFeatures,
    load_backbone,
)
from patchmatch.nets.motion import Judged, Motion, MotionNet, Refined
from patchmatch.nets.shift import CLASSES, Described, ShiftNet

__all__ = [
    "CLASSES",
    "Backbone",
    "Described",
    "HandcraftedFeatures",
    "Judged",
    "Motion",
    "MotionNet",
    "NetworkFeatures",
    "Refined",
    "ShiftNet",
    "load_backbone",
]
