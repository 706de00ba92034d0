"""What other programs call: one function a capability, the same code that the CLI runs."""

import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from patchmatch.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    shipped_checkpoint,
    trained_settings,
)
from patchmatch.data.clip_sets import Clips, LiveClips
from patchmatch.data.frames import open_clips
from patchmatch.errors import InputError
from patchmatch.io import read_image, to_gray_float
from patchmatch.matchers import Matcher, MotionMatcher, ShiftMatcher
from patchmatch.ops import nearest_neighbours
from patchmatch.ops import vote as vote_patches
from patchmatch.results import FrameChanges, NearestNeighbourField

Image = str | Path | np.ndarray | torch.Tensor
PATCH_BYTES = 4 * 2**30  # what the patches of a nearest-neighbour field may take


def load_shift_matcher(
    path: str | Path | None = None,
    *,
    block: int = 26,
    stride: int = 13,
    prior_still: float = 0.9,
    device: str | torch.device | None = None,
) -> ShiftMatcher:
    """Return a shift matcher that is ready to match.

    Args:
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        block: Side of a block of a frame in pixels.
        stride: Distance from one block to the next in pixels.
        prior_still: Share of blocks that are expected to stand still.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or not of a shift matcher.
    """
    settings = {"block": block, "stride": stride, "prior_still": prior_still}
    matcher = _load(ShiftMatcher, path, settings, device)
    matcher.measurer = functools.partial(measure_motion, device=matcher.device)
    return matcher


def load_motion_matcher(
    path: str | Path | None = None,
    *,
    block: int = 32,
    radius: int = 6,
    camera: bool = False,
    min_matched: float = 0.5,
    device: str | torch.device | None = None,
) -> MotionMatcher:
    """Return a matcher that measures motion of any size.

    Args:
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        block: Side of a block of a frame in pixels, a multiple of 8 and at least 16.
        radius: Reach of the search in steps of eight pixels.
        camera: Whether the motion of the camera is estimated and left out of account.
        min_matched: Blocks less likely than this to be seen in the later frame are unmatched.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or not of a motion matcher.
    """
    settings = {"block": block, "radius": radius, "camera": camera, "min_matched": min_matched}
    return _load(MotionMatcher, path, settings, device)


def measure_motion(
    frame0: Image,
    frame1: Image,
    block: int = 32,
    *,
    matcher: MotionMatcher | None = None,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Return how far every whole block of an image has moved in another one.

    Args:
        frame0: The earlier frame: a path, or what ``MotionMatcher.measure_motion`` takes.
        frame1: The later frame, of the same size.
        block: Side of a block in pixels, a multiple of 8 and at least 16.
        matcher: What to measure with; ``load_motion_matcher()`` if None.
        device: Where to compute, if no matcher is given.

    Returns:
        (rows, columns, 2) float on the CPU, dx and dy in pixels, rows from the top.
    """
    if matcher is None:
        matcher = _shipped_motion_matcher(None if device is None else str(device))
    frames = [
        to_gray_float(read_image(frame)) if isinstance(frame, str | Path) else frame
        for frame in (frame0, frame1)
    ]
    return matcher.measure_motion(frames[0], frames[1], block)


@functools.cache
def _shipped_motion_matcher(device: str | None) -> MotionMatcher:
    return load_motion_matcher(device=device)


AnyMatcher = TypeVar("AnyMatcher", bound=Matcher)


def _load(
    kind: type[AnyMatcher],
    path: str | Path | None,
    settings: dict[str, Any],
    device: str | torch.device | None,
) -> AnyMatcher:
    """Return a matcher with the weights of a checkpoint, ready to match."""
    if path is None:
        path = shipped_checkpoint(str(kind.shipped_weights))
    checkpoint = read_checkpoint(path)
    check_class(path, checkpoint, kind.__name__)
    matcher = kind(**(trained_settings(path, checkpoint, kind) | settings))
    check_weights(path, checkpoint, matcher)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def predict_frames(
    source: str | Path,
    *,
    matcher: ShiftMatcher | MotionMatcher | None = None,
    batch_size: int = 8,
    gaps: Sequence[int] = (1,),
    max_frames: int | None = None,
    **options: Any,
) -> Iterator[FrameChanges]:
    """Iterate over the changes of every frame pair, in order, in flat memory.

    Args:
        source: Folder of ordered frames, folder of such folders, video file, camera ("camera:0")
            or address of a stream.
        matcher: What to match with; ``load_shift_matcher(**options)`` if None, and
            ``load_motion_matcher()`` for motion of any size.
        batch_size: Frames that are read at once.
        gaps: Distances from the earlier to the later frame of a pair; (1, 2, 4) makes slow motion
            visible.
        max_frames: Frames of each sequence to read; None for all.
        options: Of ``load_shift_matcher``: path, block, stride, prior_still, device.

    Returns:
        An iterator over a ``FrameChanges`` for each pair; ``.top(k)`` gives the blocks that
        changed most.

    Raises:
        InputError: If the source holds no ordered frames. A frame that cannot be read is left out
            with a warning.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not gaps or min(gaps) < 1:
        raise ValueError(f"gaps must be numbers from 1 on, got {list(gaps)}")
    if matcher is None:
        matcher = load_shift_matcher(**options)
    elif options:
        raise ValueError(f"give a matcher or its options, not both: {', '.join(options)}")
    clips, notes = open_clips(str(source), batch_size, gaps, max_frames)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return _predict(matcher, clips)


def _predict(
    matcher: ShiftMatcher | MotionMatcher, clips: Clips | LiveClips
) -> Iterator[FrameChanges]:
    for index, clip in enumerate(clips):
        for note in clip["notes"]:
            warnings.warn(note, stacklevel=2)
        with torch.inference_mode():
            clip["frames"] = [frame.to(matcher.device) for frame in clip["frames"]]
            changes = matcher.predict_step(clip, index)
        yield from changes


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
    images = [_as_image(image, f"image{i}") for i, image in enumerate((image0, image1))]
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


def vote(
    image1: Image, field: NearestNeighbourField | torch.Tensor, patch_size: int = 7
) -> torch.Tensor:
    """Rebuild image 0 from image 1: each pixel is the mean of what all patches over it say.

    Args:
        image1: The image that the field points into, as ``nearest_neighbour_field`` takes it.
        field: Its answer, the best matches of it, or a flow of whole numbers (2, H, W).
        patch_size: Side of a patch in pixels.

    Returns:
        (C, H, W) float on the CPU.
    """
    flow = torch.as_tensor(field.flow if isinstance(field, NearestNeighbourField) else field).cpu()
    if flow.ndim == 4:
        flow = flow[0]
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.is_floating_point():
        raise ValueError(
            f"field must be a flow (2, H, W) of whole numbers, got {tuple(flow.shape)} {flow.dtype}"
        )
    return vote_patches(_as_image(image1, "image1").cpu()[None], flow.long()[None], patch_size)[0]


def _as_image(image: Image, name: str) -> torch.Tensor:
    """Return an image as (C, H, W) float32, or refuse it."""
    given = read_image(image) if isinstance(image, str | Path) else image
    array = isinstance(given, np.ndarray)
    # torch does not take views that run backwards, such as BGR read as RGB
    tensor = torch.as_tensor(given.copy() if array else given)
    tensor = tensor.movedim(-1, 0) if array and tensor.ndim == 3 else tensor
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or (array and tensor.shape[0] not in (1, 3)):
        shape = tuple(given.shape)
        raise ValueError(f"{name} must be (H, W), (H, W, 3) or a tensor (C, H, W), got {shape}")
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(tensor.dtype, 1)
    if largest == 1 and not tensor.is_floating_point():
        raise ValueError(f"{name} must be uint8, uint16 or float, got {tensor.dtype}; convert it")
    tensor = tensor.detach().float() / largest
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
    return tensor


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
