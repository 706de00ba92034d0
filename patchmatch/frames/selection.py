"""Which of the changed blocks of a pair are shown."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from patchmatch.frames.regions import merge_blocks
from patchmatch.frames.results import FrameChanges


@dataclass(frozen=True)
class Selection:
    """The most changed blocks, or regions of them.

    Attributes:
        top_k: At most so many.
        min_score: Those that changed less are left out.
        min_confidence: Those whose displacement is less sure are left out.
        min_area: Those that cover fewer pixels are left out.
        max_overlap: Of blocks that overlap more, intersection over union, the most changed stays.
        merge: Whether to merge blocks into regions, instead of choosing among overlapping ones.
    """

    top_k: int = 20
    min_score: float = 0.25
    min_confidence: float = 0.0
    min_area: int = 0
    max_overlap: float = 0.1
    merge: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must lie in [0, 1], got {self.min_score}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must lie in [0, 1], got {self.min_confidence}")
        if self.min_area < 0:
            raise ValueError(f"min_area must be at least 0 pixels, got {self.min_area}")
        if not 0 < self.max_overlap <= 1:
            raise ValueError(f"max_overlap must lie in (0, 1], got {self.max_overlap}")

    def __call__(self, changes: FrameChanges) -> tuple[FrameChanges, Tensor]:
        """Return what is shown, the most changed first, and the pixels that each covers."""
        changed = changes.top(len(changes), self.min_score)
        if self.min_confidence > 0:  # a comparison with NaN is False
            changed = changed[changed.confidence >= self.min_confidence]
        if self.merge:
            chosen, area = merge_blocks(changed)
        else:
            kept = nms(changed.boxes.float(), changed.score.float(), self.max_overlap)
            chosen = changed[kept.sort().values]
            area = (chosen.boxes[:, 2:] - chosen.boxes[:, :2]).prod(dim=1)
        large = torch.nonzero(area >= self.min_area).flatten()[: self.top_k]
        return chosen[large], area[large]
