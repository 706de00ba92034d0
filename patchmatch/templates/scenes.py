"""The batch of the data module that gives scenes and templates."""

from typing import TypedDict

import numpy as np
from torch import Tensor


class TemplateScene(TypedDict):
    """A scene, and all templates to find in it."""

    index: int  #: place of the scene in the run's order
    source: str  #: name of the folder or video that the scene belongs to
    scene_name: str  #: name of the scene, unique within the source
    several: bool  #: whether the run has more than one source
    scene: Tensor  #: (3, H, W) float32 RGB in [0, 1]
    picture: np.ndarray  #: the scene as it was read, (H, W) or (H, W, 3)
    template_names: list[str]  #: unique
    templates: list[Tensor]  #: (3, h, w) float32 RGB in [0, 1] each
    masks: list[Tensor | None]  #: (h, w) bool each, True where the template counts
    thresholds: list[float | None]  #: least score of each; None for the matcher's
    pairs: list[tuple[int, int]]  #: one (scene, template) for each template
    notes: list[str]  #: a line for each thing that had to be left out, and why
