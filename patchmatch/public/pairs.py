"""Matching of two images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchmatch.pairs.aliked_lightglue import ALIKEDLightGlueMatcher
from patchmatch.pairs.asift import ASIFTMatcher
from patchmatch.pairs.auto import AutoMatcher
from patchmatch.pairs.dense_field import FieldMatcher
from patchmatch.pairs.disk_lightglue import DISKLightGlueMatcher
from patchmatch.pairs.estimation import add_homography
from patchmatch.pairs.homography.matcher import HomographyNetMatcher
from patchmatch.pairs.kornia_matchers import AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.matcher import PairMatcher
from patchmatch.pairs.patch2pix.matcher import Patch2PixMatcher
from patchmatch.pairs.patch2pix.ncnet import NCNetMatcher
from patchmatch.pairs.patch2pix.refinement import refine_found
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.trainable import TrainablePairMatcher
from patchmatch.pairs.xfeat import XFeatMatcher
from patchmatch.public.images import Image, to_mask, to_tensors
from patchmatch.public.loading import load_matcher
from patchmatch.public.options import check_options, require_options, resolve_device

MATCHERS: dict[str, type[PairMatcher]] = {
    "auto": AutoMatcher,
    "sift": SIFTMatcher,
    "asift": ASIFTMatcher,
    "field": FieldMatcher,
    "homography_net": HomographyNetMatcher,
    "affnet_hardnet": AffNetHardNetMatcher,
    "aliked_lightglue": ALIKEDLightGlueMatcher,
    "disk_lightglue": DISKLightGlueMatcher,
    "xfeat": XFeatMatcher,
    "loftr": LoFTRMatcher,
    "se2_loftr": SE2LoFTRMatcher,
    "ncnet": NCNetMatcher,
    "patch2pix": Patch2PixMatcher,
}


@check_options
def match_images(
    image0: Image,
    image1: Image,
    matcher: str | PairMatcher = "auto",
    *,
    mask0: Image | None = None,
    mask1: Image | None = None,
    ckpt_path: str | Path | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Matches:
    """Match the points of two images.

    Args:
        image0: A path, an array (H, W) or (H, W, 3), a PIL image or a tensor (C, H, W).
        image1: The same; size and number of channels may differ.
        matcher: "auto", which tries several until the images agree with the answer of one; its
            name is ``matcher`` of the result. Or one of "sift", "asift", "field",
            "homography_net", "affnet_hardnet", "aliked_lightglue", "disk_lightglue", "xfeat",
            "loftr", "se2_loftr", "ncnet" and "patch2pix"; or a matcher to reuse between calls, from
            ``patchmatch.public.pairs.load_pair_matcher``.
        mask0: Mask of image 0, of its size: pixels brighter than half (or True) are used. None for
            all pixels.
        mask1: Mask of image 1.
        ckpt_path: A checkpoint written by ``patchmatch fit``, for a matcher that is trained; None
            for the shipped weights.
        device: Device to compute on; by default CUDA if available. A given matcher stays on its
            device.
        options: Options of the matcher: max_size, max_matches, min_score, rotations, tile, weights
            and the others that its class documents.

    Returns:
        ``keypoints0`` and ``keypoints1``, (N, 2) x and y in pixels of the given images, and
        ``score`` (N,), sorted by score; ``homography`` and ``inliers`` if at least four matches
        agree on one. With ``epipolar="fundamental"``, or ``"essential"`` and ``intrinsics0``, also
        that matrix and its inliers. All are empty without matches.

    Raises:
        ValueError: If an image is not valid, or the matcher or an option is unknown.
        InputError: If a file cannot be read, or weights are missing.
    """
    if isinstance(matcher, str):
        if matcher not in MATCHERS:
            raise ValueError(f"matcher must be one of {', '.join(MATCHERS)}, got {matcher!r}")
        kinds = [part for part in MATCHERS[matcher].__mro__ if issubclass(part, PairMatcher)]
        require_options(matcher, options, kinds)
        chosen = load_pair_matcher(matcher, ckpt_path, options, device)
    elif options or device is not None or ckpt_path is not None:
        given = ", ".join(options) or ("ckpt_path" if device is None else "device")
        raise ValueError(f"expected a matcher or its options, got both: {given}")
    else:
        chosen = matcher
    tensors = to_tensors({"image0": image0, "image1": image1})
    tensors = [tensor.to(chosen.device) for tensor in tensors]
    masks = [
        None if m is None else to_mask(m, f"mask{i}", tensors[i].shape[2:]).to(chosen.device)
        for i, m in enumerate((mask0, mask1))
    ]
    return chosen.match(tensors[0], tensors[1], masks[0], masks[1])


@check_options
def refine_matches(
    image0: Image,
    image1: Image,
    matches: object,
    *,
    coarse: bool = False,
    threshold: float = 3.0,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Matches:
    """Refine the matches of any matcher to pixels by the regressors of Patch2Pix.

    Images are reduced to a longest side of at most 1024 pixels. A match stays as it is where the
    confidence of the regressors is low.

    Args:
        image0: A path, an array (H, W) or (H, W, 3), a PIL image or a tensor (C, H, W).
        image1: The same; size and number of channels may differ.
        matches: The result of ``match_images``, or the points of image 0 and of image 1, (N, 2)
            each, x and y in pixels. Any number, also none.
        coarse: The matches are those of patches: both ends move by up to 8 pixels. Otherwise they
            are those of keypoints, and both ends move by up to 4 pixels.
        threshold: Inlier threshold of the homography: reprojection error in pixels of image 1.
        seed: Seed of its random samples.
        device: Device to compute on; by default CUDA if available.

    Returns:
        The matches in the same order, with the homography of the refined ones and its inliers. An
        epipolar matrix of the given ones is removed. The score is the given one, or 1.

    Raises:
        ValueError: If an image or the points are not valid.
        InputError: If a file cannot be read, or the weights are missing.
    """
    chosen = resolve_device(device)
    tensors = [t.to(chosen) for t in to_tensors({"image0": image0, "image1": image1})]
    if not isinstance(matches, Matches):
        matches = _as_matches(matches)
    refined = refine_found((tensors[0], tensors[1]), matches, coarse)
    return add_homography(refined, threshold, seed)


def _as_matches(points: Any) -> Matches:
    """Return the points of two images as matches; anything else raises ValueError."""
    try:
        points0, points1 = (torch.from_numpy(np.asarray(p, np.float32).copy()) for p in points)
    except (TypeError, ValueError):
        raise ValueError(
            "matches must be Matches, or the points of both images, (N, 2) each"
        ) from None
    shapes: list[Tensor] = [points0, points1]
    if any(p.ndim != 2 or p.shape[1] != 2 for p in shapes) or len(points0) != len(points1):
        raise ValueError(
            "matches must be the points of both images, (N, 2) each, got "
            f"{tuple(points0.shape)} and {tuple(points1.shape)}"
        )
    if not all(p.isfinite().all() for p in shapes):
        raise ValueError("matches must be finite, got NaN or infinite points")
    return Matches(keypoints0=points0, keypoints1=points1, score=torch.ones(len(points0)))


def load_pair_matcher(
    name: str,
    ckpt_path: str | Path | None = None,
    options: dict[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> PairMatcher:
    """Load a matcher by its name in ``MATCHERS``, with the arguments of ``match_images``."""
    kind, options = MATCHERS[name], options or {}
    if issubclass(kind, TrainablePairMatcher):
        if ckpt_path is not None or kind.shipped_weights is not None:
            return load_matcher(kind, ckpt_path, options, device)
    elif ckpt_path is not None:
        raise ValueError(f"{name} takes no ckpt_path: it is not trained by patchmatch")
    chosen = kind(**options).eval()
    chosen = chosen.to(resolve_device(device))
    chosen.prepare()
    return chosen
