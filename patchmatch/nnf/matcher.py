"""Base of matchers that find a match for every pixel of an image."""

import abc
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.core.matcher import Matcher
from patchmatch.core.process import keep_freed_memory
from patchmatch.nnf.metrics import patch_ssd, psnr, ssim
from patchmatch.nnf.patches import Field
from patchmatch.nnf.results import DenseMatches, IterationMetrics
from patchmatch.nnf.voting import consistent, copy_centres, vote_patches
from patchmatch.ops.finite import require_finite

#: Files with the memory limit of a container in bytes, for control groups of version 2 and 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class DenseMatcher(Matcher, abc.ABC):
    """Base of matchers that search image 1 for every patch of image 0, iteration by iteration.

    A subclass yields fields from ``fields``; this class measures and reconstructs.

    Args:
        patch_size: Side of a patch in pixels.
        both_ways: Whether to search image 0 for image 1 as well, and check the consistency.
        tolerance: Largest distance in pixels between a pixel and where its match leads back.
    """

    needs_float32 = True
    predict_config = "config_reconstruct_predict.yaml"
    predict_source = "--data.base_dir FOLDER"

    def __init__(
        self, patch_size: int = 7, both_ways: bool = False, tolerance: float = 1.0
    ) -> None:
        super().__init__()
        if patch_size < 1:
            raise ValueError(f"patch_size must be at least 1 pixel, got {patch_size}")
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
        self.patch_size, self.both_ways, self.tolerance = patch_size, both_ways, tolerance
        self._keep: frozenset[int] = frozenset()
        self._progress: Callable[[str, IterationMetrics], None] | None = None

    def observe(
        self,
        keep_iterations: Collection[int] = (),
        progress: Callable[[str, IterationMetrics], None] | None = None,
    ) -> None:
        """Ask for more than the result of the last iteration, as a writer does.

        Args:
            keep_iterations: Iterations whose reconstructed image is returned as well.
            progress: Called with the name of the pair and the metrics after each iteration.
        """
        self._keep, self._progress = frozenset(keep_iterations), progress

    @abc.abstractmethod
    def fields(
        self,
        image0: Float[Tensor, "B C H W"],
        image1: Float[Tensor, "B C H1 W1"],
        valid0: Bool[Tensor, "B H W"] | None = None,
        valid1: Bool[Tensor, "B H1 W1"] | None = None,
    ) -> Iterator[Field]:
        """Yield the field from image 0 to image 1 after each iteration, at least one.

        Args:
            image0: Images in [0, 1].
            image1: The images to search; their size may differ.
            valid0: Pixels to match; None for all.
            valid1: Pixels that a matched patch may be centred on; None for all.

        Raises:
            InputError: If the pair cannot be matched; prediction skips the pair.
        """

    def bytes_per_pixel(self, channels: int) -> int:
        """Return the approximate memory that matching requires per pixel of either image."""
        return 4 * channels * self.patch_size**2 + 450  # its patch in float32, and the results

    def require_matchable(self, batch: ImagePair) -> None:
        """Raise InputError if a pair is too small or too large to be matched."""
        require_patch_fits(batch, self.patch_size)
        require_memory(batch, self.bytes_per_pixel(batch["image0"].shape[1]), self.device)

    def predict_step(self, batch: ImagePair, batch_idx: int) -> list[DenseMatches]:
        """Return the matches of a pair; an empty list if the pair is skipped."""
        if not batch["pairs"]:
            return []
        for name in ("image0", "image1"):
            require_finite(batch[name], name)
        try:
            # half precision would change the order of costs
            with torch.autocast(self.device.type, enabled=False):
                return [self._match(batch)]
        except InputError as error:  # continue with the other pairs
            batch["pairs"].clear()
            batch["notes"].insert(0, f"pair left out: {error}")
            return []

    def _match(self, batch: ImagePair) -> DenseMatches:
        """Return the matches of a pair."""
        self.require_matchable(batch)
        image0, image1 = batch["image0"], batch["image1"]
        valid0, valid1 = batch["valid0"], batch["valid1"]
        keep_freed_memory()
        history: list[IterationMetrics] = []
        snapshots: dict[int, Tensor] = {}
        field, found, rebuilt = None, None, image0
        masked = valid0 is not None or valid1 is not None
        for field, seconds in self._timed_fields(image0, image1, valid0, valid1):
            if masked:  # the flow of pixels without a match is meaningless
                found = field.cost[:, 0].isfinite()
            rebuilt = vote_patches(image1, field.flow[:, 0], self.patch_size, found)
            history.append(
                IterationMetrics(
                    iteration=len(history) + 1,
                    ssd=patch_ssd(image0, image1, field.flow[:, 0], self.patch_size, found).item(),
                    psnr=psnr(rebuilt, image0, found).item(),
                    ssim=ssim(rebuilt, image0, found).item(),
                    seconds=seconds,
                )
            )
            if len(history) in self._keep:
                snapshots[len(history)] = _black_outside(rebuilt, found)
            if self._progress is not None:
                self._progress(batch["name"], history[-1])
        assert field is not None
        if found is not None:
            _require_found(batch, found)
        field10, is_consistent, seconds = None, None, history[-1].seconds
        if self.both_ways:
            fields10 = self._timed_fields(image1, image0, valid1, valid0)
            field10, seconds10 = deque(fields10, maxlen=1).pop()
            seconds += seconds10
            valid10 = field10.cost[:, 0].isfinite()
            is_consistent = consistent(
                field.flow[:, 0], field10.flow[:, 0], self.tolerance, valid10
            )
            is_consistent = is_consistent if found is None else is_consistent & found
        cost = field.cost[0]
        best = 0 if len(cost) == 1 else slice(None)
        return DenseMatches(
            name=batch["name"],
            image0=batch["names"][0],
            image1=batch["names"][1],
            patch_size=self.patch_size,
            flow=field.flow[0, best].cpu(),
            cost=cost[best].cpu(),
            rebuilt_centre=_black_outside(copy_centres(image1, field.flow[:, 0]), found),
            rebuilt_vote=_black_outside(rebuilt, found),
            history=tuple(history),
            seconds=seconds,
            valid=None if found is None else found[0].cpu(),
            consistent=None if is_consistent is None else is_consistent[0].cpu(),
            flow10=None if field10 is None else field10.flow[0, 0].cpu(),
            snapshots=snapshots,
        )

    def _timed_fields(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Iterator[tuple[Field, float]]:
        """Yield the fields, each with the seconds that all fields so far took."""
        seconds = 0.0
        fields = self.fields(image0, image1, valid0, valid1)
        while True:
            start = time.perf_counter()
            field = next(fields, None)
            if field is None:
                return
            if image0.is_cuda:
                torch.cuda.synchronize(image0.device)
            seconds += time.perf_counter() - start
            yield field, seconds


def _black_outside(image: Tensor, found: Tensor | None) -> Tensor:
    """Return an image (1, C, H, W) as (C, H, W) on the CPU, black where nothing was found."""
    return (image if found is None else image * found[:, None])[0].cpu()


def _require_found(batch: ImagePair, found: Tensor) -> None:
    """Raise InputError if no pixel has a match; add a note if only some have."""
    queries = found.numel() if batch["valid0"] is None else int(batch["valid0"].sum())
    missing = queries - int(found.sum())
    if missing == queries:
        raise InputError(
            f"{batch['name']}: the masks leave no patch to match, because patches lie wholly "
            "inside their images; give masks that are white farther from the border, or a larger "
            "--model.max_displacement or --data.max_size"
        )
    if missing:
        batch["notes"].append(
            f"{batch['name']}: {missing} of {queries} pixels have no match within the mask of "
            f"{batch['names'][1]} and --model.max_displacement; they are black and left out of all "
            "metrics"
        )


def require_seed(seed: int) -> None:
    """Raise ValueError unless torch accepts a seed."""
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed must be a number of 64 bits, got {seed}")


def require_patch_fits(batch: ImagePair, patch_size: int) -> None:
    """Raise InputError unless both images of a pair are as large as a patch."""
    for name, image in zip(batch["names"], (batch["image0"], batch["image1"]), strict=True):
        height, width = image.shape[-2:]
        if min(height, width) < patch_size:
            raise InputError(
                f"{batch['name']}: {name} is {width}x{height} pixels, smaller than a patch of "
                f"{patch_size}; give a larger image, or a smaller --model.patch_size"
            )


def require_memory(batch: ImagePair, bytes_per_pixel: int, device: torch.device) -> None:
    """Raise InputError if matching a pair requires more memory than the device has."""
    shapes = [batch[name].shape[-2:] for name in ("image0", "image1")]
    required = bytes_per_pixel * sum(shape.numel() for shape in shapes)
    total = device_memory(device)
    if total is None or required <= total:
        return
    longest = max(max(shape) for shape in shapes)
    fits = int(longest * (0.8 * total / required) ** 0.5) // 10 * 10
    raise InputError(
        f"{batch['name']}: matching requires about {required / 1e9:.3g} GB of memory, and {device} "
        f"has {total / 1e9:.3g}; give --data.max_size {fits}"
    )


def device_memory(device: torch.device) -> int | None:
    """Return the memory of a device or container in bytes; None if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not available on Windows
        return None
    for path in CONTAINER_LIMITS:
        try:
            memory = min(memory, int(path.read_text()))
        except (OSError, ValueError):  # no such control group; or "max": no limit
            continue
    return memory
