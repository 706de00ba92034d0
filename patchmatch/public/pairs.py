"""Matching two pictures from Python: the same code that the CLI runs."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchmatch.core.integers import coerce_integers
from patchmatch.core.trained import TrainedPairs
from patchmatch.pairs.asift import ASIFTMatcher
from patchmatch.pairs.dense_field import FieldMatcher
from patchmatch.pairs.descriptor.matcher import DescriptorMatcher
from patchmatch.pairs.homography.matcher import HomographyNetMatcher
from patchmatch.pairs.kornia_matchers import AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.matcher import PairMatcher
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.public.images import Image, as_picture
from patchmatch.public.loading import load_matcher

MATCHERS: dict[str, type[PairMatcher]] = {
    "sift": SIFTMatcher,
    "asift": ASIFTMatcher,
    "field": FieldMatcher,
    "descriptor": DescriptorMatcher,
    "homography_net": HomographyNetMatcher,
    "affnet_hardnet": AffNetHardNetMatcher,
    "loftr": LoFTRMatcher,
    "se2_loftr": SE2LoFTRMatcher,
}


@coerce_integers
def match_images(
    image0: Image,
    image1: Image,
    matcher: str | PairMatcher = "sift",
    *,
    mask0: Image | None = None,
    mask1: Image | None = None,
    ckpt_path: str | Path | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Matches:
    """Find the places of two pictures that show the same thing.

    Args:
        image0: A path; an array (H, W), (H, W, 3) or (H, W, 4), whose alpha is dropped, of uint8,
            uint16 or floats in [0, 1]; or a tensor of these shapes, (C, H, W) or (1, C, H, W).
        image1: The same; it may differ in size and channels.
        matcher: sift, asift, field, descriptor, homography_net, affnet_hardnet, loftr or se2_loftr;
            or a matcher that is kept between calls.
        mask0: Where image 0 counts: as large as the image, brighter than half or True. None for
            everywhere.
        mask1: The same of image 1.
        ckpt_path: A checkpoint that ``patchmatch fit`` wrote, for a matcher that is trained; None
            for the one the package ships.
        device: Where to compute; CUDA where there is one, by default. A given matcher stays where
            it is.
        options: Of the matcher: max_size, max_matches, min_score, rotations, tile, weights and
            what else its class lists.

    Returns:
        ``keypoints0`` and ``keypoints1``, (N, 2) x and y in pixels of the pictures as they came,
        and ``score`` (N,), the best first; ``homography`` and ``inliers`` where at least four
        matches agree on one; with ``epipolar="fundamental"``, or ``"essential"`` and
        ``intrinsics0``, that matrix and its inliers. Without matches all are empty.

    Raises:
        ValueError: If something is no picture, or the matcher or a value of its options unknown.
        InputError: If a file cannot be read, or weights are missing.
    """
    if isinstance(matcher, str):
        if matcher not in MATCHERS:
            raise ValueError(f"matcher must be one of {', '.join(MATCHERS)}, got {matcher!r}")
        known = _options_of(MATCHERS[matcher])
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"{matcher} has no {', '.join(unknown)}; it has {', '.join(known)}")
        chosen = load_pair_matcher(matcher, ckpt_path, options, device)
    elif options or device is not None or ckpt_path is not None:
        given = ", ".join(options) or ("ckpt_path" if device is None else "device")
        raise ValueError(f"give a matcher or its options, not both: {given}")
    else:
        chosen = matcher
    pictures = [as_picture(image, f"image{i}") for i, image in enumerate((image0, image1))]
    masks = [
        None if mask is None else _as_mask(mask, f"mask{i}", pictures[i])
        for i, mask in enumerate((mask0, mask1))
    ]
    images = [image.to(chosen.device) for image in pictures]
    valid = [None if mask is None else mask.to(chosen.device) for mask in masks]
    return chosen.match(images[0], images[1], valid[0], valid[1])


def load_pair_matcher(
    name: str,
    ckpt_path: str | Path | None = None,
    options: dict[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> PairMatcher:
    """Return a matcher of ``MATCHERS``, ready to match; the arguments are ``match_images``'s."""
    kind, options = MATCHERS[name], options or {}
    if issubclass(kind, TrainedPairs):
        if ckpt_path is not None or kind.shipped_weights is not None:
            return load_matcher(kind, ckpt_path, options, device)
    elif ckpt_path is not None:
        raise ValueError(f"{name} is not trained here: it has no ckpt_path")
    chosen = kind(**options).eval()
    chosen = chosen.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen.prepare()
    return chosen


def _options_of(kind: type[PairMatcher]) -> list[str]:
    """Return what the constructor of a matcher takes, and those of the classes it builds on."""
    return [
        name
        for part in kind.__mro__
        if issubclass(part, PairMatcher)
        for name, option in inspect.signature(part).parameters.items()
        if option.kind is not option.VAR_KEYWORD
    ]


def _as_mask(mask: Image, name: str, image: Tensor) -> Tensor:
    """Return a mask as (1, H, W) bool, or refuse it."""
    values = as_picture(mask, name).mean(dim=1) > 0.5
    if values.shape[-2:] != image.shape[-2:]:
        height, width = values.shape[-2:]
        raise ValueError(
            f"{name} must be as large as its picture, {image.shape[-1]}x{image.shape[-2]}, "
            f"got {width}x{height}"
        )
    return values
