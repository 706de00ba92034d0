"""Networks: plain ``nn.Module``s that know nothing of Lightning."""

from patchmatch.nets.backbones import (
    Backbone,
    HandcraftedFeatures,
    NetworkFeatures,
    load_backbone,
    read_weights,
)
from patchmatch.nets.descriptor import DescriptorNet
from patchmatch.nets.differentiable_patch_match import (
    DifferentiablePatchMatchNet,
    Searched,
)
from patchmatch.nets.homography import HomographyNet
from patchmatch.nets.motion import Judged, Motion, MotionNet, Refined
from patchmatch.nets.particles import Evaluation, ParticleSampler, Propagation
from patchmatch.nets.patch_features import PatchFeatures
from patchmatch.nets.se2_backbone import SE2Backbone
from patchmatch.nets.se2_loftr import se2_loftr
from patchmatch.nets.shift import CLASSES, Described, ShiftNet
from patchmatch.nets.tuned import TunedFeatures, load_features

__all__ = [
    "CLASSES",
    "Backbone",
    "Described",
    "DescriptorNet",
    "DifferentiablePatchMatchNet",
    "Evaluation",
    "HandcraftedFeatures",
    "HomographyNet",
    "Judged",
    "Motion",
    "MotionNet",
    "NetworkFeatures",
    "ParticleSampler",
    "PatchFeatures",
    "Propagation",
    "Refined",
    "SE2Backbone",
    "Searched",
    "ShiftNet",
    "TunedFeatures",
    "load_backbone",
    "load_features",
    "read_weights",
    "se2_loftr",
]
