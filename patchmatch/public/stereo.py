"""Disparity of a rectified pair."""

import functools

import torch

from patchmatch.core.messages import warn
from patchmatch.public.images import Image, to_tensors
from patchmatch.public.loading import load_matcher
from patchmatch.public.options import check_options, resolve_device
from patchmatch.stereo.matcher import StereoMatcher


@check_options
def measure_disparity(
    left: Image,
    right: Image,
    max_disparity: int | None = None,
    *,
    device: str | torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Measure the disparity of every pixel of the left image of a rectified pair.

    Args:
        left: A path, an array (H, W) or (H, W, 3), a PIL image, or a tensor (C, H, W).
        right: The same, of the same size.
        max_disparity: Largest disparity in pixels; None estimates it.
        device: Device to compute the features on; by default CUDA if available.

    Returns:
        Disparity (H, W) float in pixels, with ``left[y, x]`` like ``right[y, x - d]``, and
        confidence (H, W) in [0, 1], which is 0 where the disparity was filled in from neighbours.
        Both are on the CPU. A vertical offset or exchanged images cause a warning.

    Raises:
        ValueError: If an image or an option is not valid.
        InputError: If an image cannot be read, or the images differ in size or are the same.
    """
    if max_disparity is not None and max_disparity < 1:
        raise ValueError(f"max_disparity must be at least 1, got {max_disparity}")
    image0, image1 = to_tensors({"left": left, "right": right})
    found = _matcher(str(resolve_device(device))).measure(image0, image1, max_disparity)
    for note in found.notes:
        warn(note)
    return torch.from_numpy(found.disparity), torch.from_numpy(found.confidence)


@functools.lru_cache(maxsize=1)
def _matcher(device: str) -> StereoMatcher:
    return load_matcher(StereoMatcher, None, {}, device)
