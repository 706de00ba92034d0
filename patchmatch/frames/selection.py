"""Selection of the changed blocks that are drawn and listed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from patchmatch.frames.results import FrameChanges


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selects the blocks with the highest scores.

    A large object has many changed blocks. If there are more than ``top_k``, a second suppression
    with boxes of twice the side decides which come first, so that one object does not take all.

    Attributes:
        top_k: Maximum number of blocks.
        min_score: Minimum score.
        min_confidence: Minimum confidence of the displacement.
        min_area: Minimum number of covered pixels.
        max_overlap: Intersection over union above which the block with the lower score is
            suppressed.
    """

    top_k: int = 20
    min_score: float = 0.25
    min_confidence: float = 0.0
    min_area: int = 0
    max_overlap: float = 0.1

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        for name, value in (("min_score", self.min_score), ("min_confidence", self.min_confidence)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        if self.min_area < 0:
            raise ValueError(f"min_area must be at least 0 pixels, got {self.min_area}")
        if not 0 < self.max_overlap <= 1:
            raise ValueError(f"max_overlap must be in (0, 1], got {self.max_overlap}")

    def __call__(self, changes: FrameChanges) -> tuple[FrameChanges, Tensor]:
        """Return the selection in descending order of score, and the area of each in pixels."""
        changed = changes.top(len(changes), self.min_score)
        if self.min_confidence > 0:  # a comparison with NaN is False
            changed = changed[changed.confidence >= self.min_confidence]
        kept = nms(changed.boxes.float(), changed.score.float(), self.max_overlap)
        selected = changed[kept.sort().values]
        area = (selected.boxes[:, 2:] - selected.boxes[:, :2]).prod(dim=1)
        large = torch.nonzero(area >= self.min_area).flatten()
        if len(large) > self.top_k:
            large = large[self._spread(selected[large])]
        return selected[large], area[large]

    def _spread(self, blocks: FrameChanges) -> Tensor:
        """Return the indices of ``top_k`` of the blocks, which are in descending order of score."""
        boxes = blocks.boxes.float()
        margin = (boxes[:, 2:] - boxes[:, :2]) / 2
        grown = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
        best = nms(grown, blocks.score.float(), self.max_overlap)
        near = torch.ones(len(blocks), dtype=torch.bool)
        near[best] = False
        first = torch.argsort(near, stable=True)[: self.top_k]  # False before True
        return first.sort().values
