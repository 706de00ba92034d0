"""Template matching as other programs call it."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchmatch.core.integers import coerce_integers
from patchmatch.public.images import Image, as_picture
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.results import Detections

_MATCHERS = 4  # kept ready, with the weights in memory


@coerce_integers
def match_template(
    scene: Image,
    template: Image,
    features: str | Path = "vgg19",
    weights: str | Path | None = None,
    score: str = "qatm",
    *,
    mask: Image | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Detections:
    """Find a template in a scene.

    Args:
        scene: A path, an array ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16 or
            float in [0, 1], RGB, or a tensor of these or with its channels first.
        template: The picture of an object, of the same kinds.
        features: ``vgg19``, another network of torchvision with its ``layers``,
            ``handcrafted``, which needs no weights, or a checkpoint that was tuned here.
        weights: File with the weights of the network; None lets torchvision download them.
        score: ``qatm``, ``ncc`` or ``soft_rank``.
        mask: Of the template's size, not zero or True where the template counts.
        device: Where to compute; CUDA where there is one, by default.
        options: Of ``TemplateMatcher``: threshold, max_detections, scales, rotations, stride and
            others.

    Returns:
        Boxes, the best first. There are none, with the reason, where nothing reaches the
        threshold, and for a template that is flat, tiny or larger than the scene.

    Raises:
        InputError: If a picture or the weights cannot be read.
        ValueError: If an array is no picture, or an option is wrong.
    """
    settings = {
        name: tuple(v) if isinstance(v, list | np.ndarray) else v for name, v in options.items()
    }
    matcher = _matcher(
        str(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        features=str(features),
        weights=None if weights is None else str(weights),
        stamp=_stamp(features if weights is None else weights),
        score=score,
        **settings,
    )
    counts = None if mask is None else to_colors(mask, "mask").amax(dim=0) > 0
    return matcher.match(to_colors(scene, "scene"), to_colors(template, "template"), counts)


def to_colors(image: Image, name: str = "image") -> torch.Tensor:
    """Return a picture as (3, H, W) float32 RGB in [0, 1].

    Raises:
        ValueError: If it is none.
    """
    return as_picture(image, name)[0].expand(3, -1, -1).contiguous()


def _stamp(path: str | Path) -> tuple[int, int]:
    """Return what changes when a file of weights does."""
    if not Path(path).is_file():
        return (0, 0)
    about = Path(path).stat()
    return (about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=_MATCHERS)
def _matcher(device: str, stamp: tuple[int, int], **settings: Any) -> TemplateMatcher:
    """Return a matcher; another one where the file of weights has changed."""
    matcher = TemplateMatcher(**settings)
    matcher.configure_model()
    return matcher.eval().to(device)
