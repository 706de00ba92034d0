"""Template matching."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchmatch.public.images import Image, to_mask, to_opacity, to_rgb
from patchmatch.public.options import check_options, require_options, resolve_device
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.results import Detections

_CACHED_MATCHERS = 4  # with their weights


@check_options
def match_template(
    scene: Image,
    template: Image,
    features: str | Path = "vgg19",
    weights: str | Path | None = None,
    score: str = "qatm",
    *,
    mask: Image | None = None,
    box: Sequence[float] | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Detections:
    """Find a template in a scene.

    Args:
        scene: A path, an array (H, W) or (H, W, 3), a PIL image or a tensor (C, H, W).
        template: An image of the object, in the same forms.
        features: "vgg19", another network of torchvision with its ``layers``, "handcrafted", which
            needs no weights, or a checkpoint written by ``patchmatch fit``.
        weights: File with the weights of the network; None lets torchvision download them.
        score: "qatm", "ncc" or "soft_rank".
        mask: Mask of the template, of its size: pixels brighter than half (or True) are used. None
            for its alpha channel, if it has one, or else for all pixels.
        box: x0, y0, x1, y1 of the object in the template, pixels, half-open: the template is then a
            whole image, and what surrounds the box helps to find the object. None for all of it.
        device: Device to compute on; by default CUDA if available.
        options: Options of ``TemplateMatcher``: threshold, max_detections, scales, rotations,
            stride, outlines and others.

    Returns:
        Boxes, sorted by score. They are empty, with the reason, if no location reaches the
        threshold, or if the template is uniform, tiny or larger than the scene.

    Raises:
        InputError: If an image or the weights cannot be read.
        ValueError: If an image or an option is not valid.
    """
    require_options("match_template", options, [TemplateMatcher])
    settings = {
        name: tuple(v) if isinstance(v, list | np.ndarray) else v for name, v in options.items()
    }
    matcher = _matcher(
        str(resolve_device(device)),
        features=str(features),
        weights=None if weights is None else str(weights),
        stamp=_stamp(features if weights is None else weights),
        score=score,
        **settings,
    )
    used = to_opacity(template) if mask is None else to_mask(mask, "mask")[0]
    corners = None if box is None else torch.tensor([float(value) for value in box])
    if corners is not None and len(corners) != 4:
        raise ValueError(f"box must be x0, y0, x1, y1, got {len(corners)} numbers")
    images = to_rgb(scene, "scene")[0], to_rgb(template, "template")[0]
    return matcher.match(*images, used, corners)


def _stamp(path: str | Path) -> tuple[int, int]:
    """Return the modification time and the size of a file of weights."""
    if not Path(path).is_file():
        return (0, 0)
    about = Path(path).stat()
    return (about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=_CACHED_MATCHERS)
def _matcher(device: str, stamp: tuple[int, int], **settings: Any) -> TemplateMatcher:
    """Build a matcher, or return the cached one while the file of weights is unchanged."""
    matcher = TemplateMatcher(**settings)
    matcher.configure_model()
    return matcher.eval().to(device)
