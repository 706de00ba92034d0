"""Networks: plain ``nn.Module``s that know nothing of Lightning."""

from patchmatch.nets.differentiable_patch_match import (
    DifferentiablePatchMatchNet,
    Searched,
)
from patchmatch.nets.motion import Judged, Motion, MotionNet, Refined
from patchmatch.nets.particles import Evaluation, ParticleSampler, Propagation
from patchmatch.nets.patch_features import PatchFeatures
from patchmatch.nets.shift import CLASSES, Described, ShiftNet

__all__ = [
    "CLASSES",
    "Described",
    "DifferentiablePatchMatchNet",
    "Evaluation",
    "Judged",
    "Motion",
    "MotionNet",
    "ParticleSampler",
    "PatchFeatures",
    "Propagation",
    "Refined",
    "Searched",
    "ShiftNet",
]
