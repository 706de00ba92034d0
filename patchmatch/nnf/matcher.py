"""What every matcher shares that finds all of one image in another."""

import abc
import os
import time
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
from patchmatch.nnf.results import DenseMatches, Step
from patchmatch.nnf.voting import consistent, copy_centres, vote

#: Where Linux tells how many bytes a container may use, in its control groups of version 2 and 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class DenseMatcher(Matcher, abc.ABC):
    """Base of matchers that search image 1 for every patch of image 0, iteration by iteration.

    A subclass yields its fields from ``fields``; what they are worth is measured here.

    Args:
        patch_size: Side of a patch in pixels.
        both_ways: Whether image 1 is sought in image 0 as well, to tell which matches agree.
        tolerance: Pixels by which a match that is followed there and back may miss its start.

    Attributes:
        keep_iterations: Iterations whose rebuilt picture is handed out, too; a writer asks so.
        listener: Told the name of the pair and each step as soon as it is measured.
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
        self.keep_iterations: Collection[int] = ()
        self.listener: Callable[[str, Step], None] | None = None

    @abc.abstractmethod
    def fields(
        self,
        image0: Float[Tensor, "B C H W"],
        image1: Float[Tensor, "B C H1 W1"],
        valid0: Bool[Tensor, "B H W"] | None = None,
        valid1: Bool[Tensor, "B H1 W1"] | None = None,
    ) -> Iterator[Field]:
        """Yield the field of image 0 in image 1 after each iteration, at least one.

        Args:
            image0: What is sought, in [0, 1].
            image1: Where it is sought.
            valid0: The pixels that are sought; None for all.
            valid1: The pixels that patches may be centred on; None for all.

        Raises:
            InputError: If the pair cannot be matched; it is left out, and the others are done.
        """

    def bytes_per_pixel(self, channels: int) -> int:
        """Return how much memory matching takes for each pixel of either image, about."""
        return 4 * channels * self.patch_size**2 + 450  # its patch as float32, and what is found

    def require_matchable(self, batch: ImagePair) -> None:
        """Raise InputError if a pair is too small or too large to be matched."""
        require_patch_fits(batch, self.patch_size)
        require_memory(batch, self.bytes_per_pixel(batch["image0"].shape[1]), self.device)

    def predict_step(self, batch: ImagePair, batch_idx: int) -> list[DenseMatches]:
        """Return what was found for a pair; nothing where the pair is left out."""
        if not batch["pairs"]:
            return []
        try:
            with torch.autocast(self.device.type, enabled=False):  # costs would lose their order
                return [self._match(batch)]
        except InputError as error:  # the other pairs are still done
            batch["pairs"].clear()
            batch["notes"].insert(0, f"pair left out: {error}")
            return []

    def _match(self, batch: ImagePair) -> DenseMatches:
        """Return what was found for a pair."""
        self.require_matchable(batch)
        image0, image1 = batch["image0"], batch["image1"]
        valid0, valid1 = batch["valid0"], batch["valid1"]
        keep_freed_memory()
        steps: list[Step] = []
        kept: dict[int, Tensor] = {}
        field, found, rebuilt = None, None, image0
        masked = valid0 is not None or valid1 is not None
        for field, seconds in self._timed(image0, image1, valid0, valid1):
            if masked:  # what was not found has a flow in name only
                found = field.cost[:, 0].isfinite()
            rebuilt = vote(image1, field.flow[:, 0], self.patch_size, found)
            steps.append(self._step(len(steps) + 1, batch, field, found, rebuilt, seconds))
            if len(steps) in self.keep_iterations:
                kept[len(steps)] = _where_found(rebuilt, found)
            if self.listener is not None:
                self.listener(batch["name"], steps[-1])
        assert field is not None
        if found is not None:
            _require_found(batch, found)
        back, agree, seconds = None, None, steps[-1].seconds
        if self.both_ways:
            for field10, passed in self._timed(image1, image0, valid1, valid0):
                back, seconds = field10, steps[-1].seconds + passed
            assert back is not None
            agree = consistent(
                field.flow[:, 0], back.flow[:, 0], self.tolerance, back.cost[:, 0].isfinite()
            )
            agree = agree if found is None else agree & found
        cost = field.cost[0]
        best = 0 if len(cost) == 1 else slice(None)
        return DenseMatches(
            name=batch["name"],
            image0=batch["names"][0],
            image1=batch["names"][1],
            patch_size=self.patch_size,
            flow=field.flow[0, best].cpu(),
            cost=cost[best].cpu(),
            rebuilt_centre=_where_found(copy_centres(image1, field.flow[:, 0]), found),
            rebuilt_vote=_where_found(rebuilt, found),
            steps=tuple(steps),
            seconds=seconds,
            valid=None if found is None else found[0].cpu(),
            consistent=None if agree is None else agree[0].cpu(),
            flow10=None if back is None else back.flow[0, 0].cpu(),
            kept=kept,
        )

    def _step(
        self,
        iteration: int,
        batch: ImagePair,
        field: Field,
        found: Tensor | None,
        rebuilt: Tensor,
        seconds: float,
    ) -> Step:
        """Measure a field and the picture rebuilt by it, where something was found."""
        image0, image1 = batch["image0"], batch["image1"]
        return Step(
            iteration=iteration,
            ssd=patch_ssd(image0, image1, field.flow[:, 0], self.patch_size, found).item(),
            psnr=psnr(rebuilt, image0, found).item(),
            ssim=ssim(rebuilt, image0, found).item(),
            seconds=seconds,
        )

    def _timed(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Iterator[tuple[Field, float]]:
        """Yield the fields, each with the seconds that all until then took."""
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


def _where_found(image: Tensor, found: Tensor | None) -> Tensor:
    """Return an image (1, C, H, W) as (C, H, W) on the CPU, black where nothing was found."""
    return (image if found is None else image * found[:, None])[0].cpu()


def _require_found(batch: ImagePair, found: Tensor) -> None:
    """Raise InputError if no pixel was found; if only some were not, note it."""
    sought = found.numel() if batch["valid0"] is None else int(batch["valid0"].sum())
    missing = sought - int(found.sum())
    if missing == sought:
        raise InputError(
            f"{batch['name']}: its masks leave no patch to match, for patches lie wholly inside "
            "their pictures; make them white farther from the border, or give a larger "
            "--model.reach or --data.max_size"
        )
    if missing:
        batch["notes"].append(
            f"{batch['name']}: {missing} of {sought} pixels found no place that the mask of "
            f"{batch['names'][1]} and --model.reach leave; they are black and count nowhere"
        )


def require_seed(seed: int) -> None:
    """Raise ValueError unless a generator takes a seed."""
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed must be a number of 64 bits, got {seed}")


def require_patch_fits(batch: ImagePair, patch_size: int) -> None:
    """Raise InputError unless both images of a pair are as large as a patch."""
    for name, image in zip(batch["names"], (batch["image0"], batch["image1"]), strict=True):
        height, width = image.shape[-2:]
        if min(height, width) < patch_size:
            raise InputError(
                f"{batch['name']}: {name} is {width}x{height} pixels, smaller than a patch of "
                f"{patch_size}; give a larger picture, or a smaller --model.patch_size"
            )


def require_memory(batch: ImagePair, bytes_per_pixel: int, device: torch.device) -> None:
    """Raise InputError if matching a pair takes more memory than the device has."""
    shapes = [batch[name].shape[-2:] for name in ("image0", "image1")]
    need = bytes_per_pixel * sum(shape.numel() for shape in shapes)
    total = device_memory(device)
    if total is None or need <= total:
        return
    longest = max(max(shape) for shape in shapes)
    fits = int(longest * (0.8 * total / need) ** 0.5) // 10 * 10
    raise InputError(
        f"{batch['name']}: takes about {need / 1e9:.3g} GB of memory to match, and {device} has "
        f"{total / 1e9:.3g}; give --data.max_size {fits}"
    )


def device_memory(device: torch.device) -> int | None:
    """Return the bytes of memory that a device has, or its container may use; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    for path in CONTAINER_LIMITS:
        try:
            memory = min(memory, int(path.read_text()))
        except (OSError, ValueError):  # another kernel; or "max", which is no limit
            continue
    return memory
