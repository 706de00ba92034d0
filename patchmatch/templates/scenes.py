"""The batch of template matching: a scene and its templates."""

from typing import TypedDict

import numpy as np
from torch import Tensor


class TemplateScene(TypedDict):
    """A scene, and all templates to find in it."""

    index: int  #: index of the scene in the run
    source: str  #: name of the folder or video that contains the scene
    scene_name: str  #: name of the scene, unique within the source
    time: float | None  #: of a frame of a video in seconds; None for images
    scene: Tensor  #: (3, H, W) float32 RGB in [0, 1]
    scene_image: np.ndarray  #: the scene as read from its file, (H, W) or (H, W, 3)
    template_names: list[str]  #: unique
    templates: list[Tensor]  #: (3, h, w) float32 RGB in [0, 1] each
    masks: list[Tensor | None]  #: (h, w) bool each, True for pixels of the object
    boxes: list[Tensor | None]  #: (4,) xyxy of the object in each template; None for all of it
    thresholds: list[float | None]  #: lowest score of each; None for the threshold of the matcher
    pairs: list[tuple[int, int]]  #: one (scene, template) for each template
    notes: list[str]  #: a line for each file that was left out, with the reason


def require_box(box: Tensor, image: Tensor) -> None:
    """Raise ValueError unless a box, (4,) xyxy in pixels, lies in an image, (3, h, w)."""
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = box.tolist()
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"the box must lie in its image of {width}x{height} pixels with x0 < x1 and y0 < y1, "
            f"got {x0:g}, {y0:g}, {x1:g}, {y1:g}"
        )
