"""Detections of templates in scenes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchmatch.core.results import Result

OF_EACH = ("boxes", "scores", "scales", "rotations", "outlines")  # a row for each detection


@dataclass(frozen=True, kw_only=True, repr=False)
class Detections(Result):
    """Detections of a template in a scene, the best first.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels, half-open; they may extend beyond the scene.
        scores: (N,) float in [0, 1], probability that the template is there; lower if the matches
            imply another size than that of the box.
        heatmap: (H, W) float in [0, 1] on the pixels of the scene: square root of the share of the
            template's features that vote for each pixel as its centre.
        scales: (N,) float, size of the object divided by that of the template.
        rotations: (N,) float, rotation of the template in degrees, counter-clockwise; the box
            encloses the rotated template.
        outlines: (N, 4, 2) float, x and y of the corners of the template in the scene, clockwise
            from the top left; NaN where they are not known, or not requested.
        reason: Why there are no detections; empty if there are some.
        best_score: Score of the best location, also below the threshold; NaN if the template was
            not searched.
    """

    boxes: Tensor
    scores: Tensor
    heatmap: Tensor
    scales: Tensor
    rotations: Tensor
    outlines: Tensor
    reason: str = ""
    best_score: float = math.nan

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor) -> "Detections":
        """Return the detections at a long or bool index, in its order."""
        return replace(self, **{name: getattr(self, name)[index] for name in OF_EACH})

    def sorted(self) -> "Detections":
        """Return the detections by descending score; equal scores keep their order."""
        return self[torch.argsort(self.scores, descending=True, stable=True)]


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
        best_scores: Score of its best location, by the same names; NaN if it was not searched.
    """

    source: str
    scene: str
    templates: tuple[str, ...]
    detections: Detections
    template_index: Tensor
    reasons: dict[str, str]
    best_scores: dict[str, float]

    def __len__(self) -> int:
        return len(self.detections)


def no_detections(size: Sequence[int], reason: str) -> Detections:
    """Return no detections in a scene of height and width, with the reason."""
    return Detections(
        boxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        heatmap=torch.zeros(*size),
        scales=torch.zeros(0),
        rotations=torch.zeros(0),
        outlines=torch.zeros(0, 4, 2),
        reason=reason,
    )
