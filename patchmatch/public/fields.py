"""Nearest-neighbour fields and reconstruction by voting."""

import numpy as np
import torch

from patchmatch.core.errors import InputError
from patchmatch.nnf.results import NearestNeighbourField
from patchmatch.nnf.search import nearest_neighbours
from patchmatch.nnf.voting import vote_patches
from patchmatch.public.images import Image, to_tensors
from patchmatch.public.options import check_options, resolve_device

PATCH_BYTES = 4 * 2**30  # of memory for the patches of both images


@check_options
def nearest_neighbour_field(
    image0: Image,
    image1: Image,
    patch_size: int = 7,
    preset: str = "balanced",
    seed: int = 0,
    *,
    k: int = 1,
    norm: str = "l2",
    max_displacement: int | None = None,
    valid0: torch.Tensor | np.ndarray | None = None,
    valid1: torch.Tensor | np.ndarray | None = None,
    device: str | torch.device | None = None,
) -> NearestNeighbourField:
    """Find the most similar patches of image 1 for every patch of image 0.

    Args:
        image0: A path, an array (H, W) or (H, W, 3), a PIL image, or a tensor (C, H, W), which may
            be a feature map.
        image1: The same; the size may differ.
        patch_size: Side of a patch in pixels.
        preset: "fast", "balanced" or "accurate".
        seed: Seed of the random search; the same seed gives the same field.
        k: Number of matches per pixel, sorted by cost.
        norm: "l2" sums squared differences, "l1" absolute differences.
        max_displacement: Largest displacement in x and in y, in pixels; None for no limit.
        valid0: (H, W) bool, the pixels to match; None for all.
        valid1: (H, W) bool, the pixels of image 1 that patches may be centered on; None for all.
        device: Device to compute on; by default CUDA if available.

    Returns:
        ``flow`` (2, H, W) as dx, dy in pixels and ``cost`` (H, W); for k > 1 (k, 2, H, W) and
        (k, H, W).

    Raises:
        ValueError: If an image is not valid, the channels differ, or a patch does not fit.
        InputError: If an image cannot be read, or the patches of both exceed the memory.
    """
    device = resolve_device(device)
    images = to_tensors({"image0": image0, "image1": image1}, features=True)
    _check_room(images, patch_size)
    masks = []
    for index, (image, mask) in enumerate(zip(images, (valid0, valid1), strict=True)):
        if mask is not None:
            mask = torch.as_tensor(mask).to(device, torch.bool)
            if mask.shape != image.shape[2:]:
                raise ValueError(
                    f"valid{index} must have the size of image{index}, {tuple(image.shape[2:])}, "
                    f"got {tuple(mask.shape)}"
                )
            mask = mask[None]
        masks.append(mask)
    fields = nearest_neighbours(
        images[0].to(device), images[1].to(device), patch_size, preset=preset, k=k, norm=norm,
        max_displacement=max_displacement, valid0=masks[0], valid1=masks[1], seed=seed,
    )  # fmt: skip
    *_, field = fields
    flow, cost = field.flow[0].cpu(), field.cost[0].cpu()  # (K, 2, H, W) and (K, H, W)
    if k == 1:
        flow, cost = flow[0], cost[0]
    return NearestNeighbourField(flow, cost)


@check_options
def vote(
    image1: Image, field: NearestNeighbourField | torch.Tensor | np.ndarray, patch_size: int = 7
) -> torch.Tensor:
    """Reconstruct image 0 from image 1: each pixel is the mean over all patches that cover it.

    Args:
        image1: The image that the field points into, as in ``nearest_neighbour_field``.
        field: A nearest-neighbour field, of which the best matches are used, or an integer flow
            (2, H, W). Patches of infinite cost are left out.
        patch_size: Side of a patch in pixels.

    Returns:
        (C, H, W) float on the CPU.

    Raises:
        ValueError: If the field is not an integer flow.
    """
    found = None
    if isinstance(field, NearestNeighbourField):
        found = torch.as_tensor(field.cost).cpu().isfinite()
        found = found[0] if found.ndim == 3 else found
        field = field.flow
    flow = torch.as_tensor(field).cpu()
    if flow.ndim == 4:
        flow = flow[0]
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.is_floating_point():
        raise ValueError(
            f"field must be an integer flow (2, H, W), got {tuple(flow.shape)} {flow.dtype}"
        )
    image = to_tensors({"image1": image1}, features=True)[0].cpu()
    valid = None if found is None else found[None]
    return vote_patches(image, flow.long()[None], patch_size, valid)[0]


def _check_room(images: list[torch.Tensor], patch_size: int) -> None:
    """Raise InputError if the patches of both images exceed the memory."""
    values = sum(image.numel() for image in images) * max(patch_size, 1) ** 2
    if 4 * values <= PATCH_BYTES:
        return
    scale = (PATCH_BYTES / (4 * values)) ** 0.5
    sizes = " and ".join(f"{image.shape[3]}x{image.shape[2]}" for image in images)
    fit = " and ".join(f"{int(i.shape[3] * scale)}x{int(i.shape[2] * scale)}" for i in images)
    raise InputError(
        f"images of {sizes} pixels: their patches take {4 * values / 2**30:.1f} GiB, more than "
        f"{PATCH_BYTES / 2**30:.0f} GiB; resize them to {fit} or less, or use a smaller patch_size"
    )
