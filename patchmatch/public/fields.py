"""Nearest-neighbour fields and what is rebuilt with them."""

import numpy as np
import torch

from patchmatch.core.errors import InputError
from patchmatch.core.integers import coerce_integers
from patchmatch.nnf.results import NearestNeighbourField
from patchmatch.nnf.search import nearest_neighbours
from patchmatch.nnf.voting import vote as vote_patches
from patchmatch.public.images import Image, as_image

PATCH_BYTES = 4 * 2**30  # what the patches of a nearest-neighbour field may take


@coerce_integers
def nearest_neighbour_field(
    image0: Image,
    image1: Image,
    patch_size: int = 7,
    preset: str = "balanced",
    seed: int = 0,
    *,
    count: int = 1,
    norm: str = "l2",
    reach: int | None = None,
    valid0: torch.Tensor | np.ndarray | None = None,
    valid1: torch.Tensor | np.ndarray | None = None,
    device: str | torch.device | None = None,
) -> NearestNeighbourField:
    """Find for every patch of an image the most similar patches of another one.

    Args:
        image0: A path, an array (H, W) or (H, W, 3) of uint8, uint16 or floats in [0, 1], or a
            tensor (C, H, W), which may be a feature map.
        image1: The same; its size may differ.
        patch_size: Side of a patch in pixels.
        preset: "fast", "balanced" or "accurate".
        seed: The same seed gives the same field.
        count: Matches of each pixel, the best first.
        norm: "l2": the cost sums squared differences; "l1": absolute ones.
        reach: Largest displacement in x and in y, in pixels; None for any.
        valid0: (H, W) bool, pixels to be matched; None for all.
        valid1: (H, W) bool, pixels of image 1 that patches may be centred on; None for all.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        ValueError: If the images cannot be compared, or a patch does not fit into them.
        InputError: If an image cannot be read, or both are too large to be held as patches.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    images = [as_image(image, f"image{i}") for i, image in enumerate((image0, image1))]
    _check_room(images, patch_size)
    masks = []
    for index, (image, mask) in enumerate(zip(images, (valid0, valid1), strict=True)):
        if mask is not None:
            mask = torch.as_tensor(mask).to(device, torch.bool)
            if mask.shape != image.shape[1:]:
                raise ValueError(
                    f"valid{index} must have the size of image{index}, {tuple(image.shape[1:])}, "
                    f"got {tuple(mask.shape)}"
                )
            mask = mask[None]
        masks.append(mask)
    fields = nearest_neighbours(
        images[0][None].to(device), images[1][None].to(device), patch_size, preset=preset,
        count=count, norm=norm, reach=reach, valid0=masks[0], valid1=masks[1], seed=seed,
    )  # fmt: skip
    *_, field = fields
    flow, cost = field.flow[0].cpu(), field.cost[0].cpu()  # (K, 2, H, W) and (K, H, W)
    if count == 1:
        flow, cost = flow[0], cost[0]
    return NearestNeighbourField(flow, cost)


@coerce_integers
def vote(
    image1: Image, field: NearestNeighbourField | torch.Tensor, patch_size: int = 7
) -> torch.Tensor:
    """Rebuild image 0 from image 1: each pixel is the mean of what all patches over it say.

    Args:
        image1: The image that the field points into, as ``nearest_neighbour_field`` takes it.
        field: Its answer, the best matches of it, or a flow of whole numbers (2, H, W). Patches of
            infinite cost have no vote.
        patch_size: Side of a patch in pixels.

    Returns:
        (C, H, W) float on the CPU.
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
            f"field must be a flow (2, H, W) of whole numbers, got {tuple(flow.shape)} {flow.dtype}"
        )
    image = as_image(image1, "image1").cpu()[None]
    valid = None if found is None else found[None]
    return vote_patches(image, flow.long()[None], patch_size, valid)[0]


def _check_room(images: list[torch.Tensor], patch_size: int) -> None:
    """Refuse images whose patches would not fit into memory."""
    values = sum(image.numel() for image in images) * max(patch_size, 1) ** 2
    if 4 * values <= PATCH_BYTES:
        return
    scale = (PATCH_BYTES / (4 * values)) ** 0.5
    sizes = " and ".join(f"{image.shape[2]}x{image.shape[1]}" for image in images)
    fit = " and ".join(f"{int(i.shape[2] * scale)}x{int(i.shape[1] * scale)}" for i in images)
    raise InputError(
        f"images of {sizes} pixels hold {4 * values / 2**30:.1f} GiB of patches, more than "
        f"{PATCH_BYTES / 2**30:.0f}: make them {fit} or smaller, or take a smaller patch_size"
    )
