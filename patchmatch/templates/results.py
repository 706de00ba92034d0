"""Where templates are found in scenes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """Where a template was found in a scene, the best first.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels, half-open; they may reach beyond the scene.
        scores: (N,) float in [0, 1], how probably the template is there.
        heatmap: (H, W) float in [0, 1] of the scene's pixels, how much of the template agrees on
            each place of its centre.
        rotations: (N,) float, degrees by which the template was turned to be found,
            counter-clockwise as one sees it; the box encloses it.
        reason: Why there are none, in words; empty where there are some.
    """

    boxes: Tensor
    scores: Tensor
    heatmap: Tensor
    rotations: Tensor
    reason: str = ""

    def __len__(self) -> int:
        return len(self.boxes)

    def sorted(self) -> "Detections":
        """Return them with the best first; equal ones keep their order."""
        order = torch.argsort(self.scores, descending=True, stable=True)
        return replace(
            self,
            boxes=self.boxes[order],
            scores=self.scores[order],
            rotations=self.rotations[order],
        )


@dataclass(frozen=True)
class SceneDetections:
    """What was found of several templates in a scene.

    Attributes:
        source: Name of the sequence that the scene belongs to.
        scene: Name of the scene.
        templates: Names of the templates.
        detections: Of all templates, the best first.
        template: (N,) long, which template each detection is of.
        reasons: Why a template was not found, by its name.
    """

    source: str
    scene: str
    templates: tuple[str, ...]
    detections: Detections
    template: Tensor
    reasons: dict[str, str]

    def __len__(self) -> int:
        return len(self.detections)
