"""Detections of templates in scenes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Detections of a template in a scene, the best first.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels, half-open; they may extend beyond the scene.
        scores: (N,) float in [0, 1], probability that the template is there.
        heatmap: (H, W) float in [0, 1] on the pixels of the scene: square root of the share of the
            template's features that vote for each pixel as its centre.
        rotations: (N,) float, rotation of the template in degrees, counter-clockwise; the box
            encloses the rotated template.
        reason: Why there are no detections; empty if there are some.
    """

    boxes: Tensor
    scores: Tensor
    heatmap: Tensor
    rotations: Tensor
    reason: str = ""

    def __len__(self) -> int:
        return len(self.boxes)

    def sorted(self) -> "Detections":
        """Return the detections by descending score; equal scores keep their order."""
        order = torch.argsort(self.scores, descending=True, stable=True)
        return replace(
            self,
            boxes=self.boxes[order],
            scores=self.scores[order],
            rotations=self.rotations[order],
        )


@dataclass(frozen=True, kw_only=True)
class SceneDetections:
    """Detections of several templates in a scene.

    Attributes:
        source: Name of the sequence that contains the scene.
        scene: Name of the scene.
        templates: Names of the templates.
        detections: Detections of all templates, the best first.
        template_index: (N,) long, index of the template of each detection.
        reasons: Why a template has no detection, by its name.
    """

    source: str
    scene: str
    templates: tuple[str, ...]
    detections: Detections
    template_index: Tensor
    reasons: dict[str, str]

    def __len__(self) -> int:
        return len(self.detections)
