"""Networks: plain ``nn.Module``s that know nothing of Lightning."""

from patchmatch.nets.shift import CLASSES, Described, ShiftNet

__all__ = ["CLASSES", "Described", "ShiftNet"]
