"""The batch of template matching: a scene and its templates."""

from typing import TypedDict

import numpy as np
from torch import Tensor


class TemplateScene(TypedDict):
    """A scene, and all templates to find in it."""

    index: int  #: index of the scene in the run
    source: str  #: name of the folder or video that contains the scene
    scene_name: str  #: name of the scene, unique within the source
    scene: Tensor  #: (3, H, W) float32 RGB in [0, 1]
    scene_image: np.ndarray  #: the scene as read from its file, (H, W) or (H, W, 3)
    template_names: list[str]  #: unique
    templates: list[Tensor]  #: (3, h, w) float32 RGB in [0, 1] each
    masks: list[Tensor | None]  #: (h, w) bool each, True for pixels of the object
    thresholds: list[float | None]  #: lowest score of each; None for the threshold of the matcher
    pairs: list[tuple[int, int]]  #: one (scene, template) for each template
    notes: list[str]  #: a line for each file that was left out, with the reason
