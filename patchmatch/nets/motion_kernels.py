"""The steps of ``motion_steps`` by compiled kernels, without gradients, on the CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.kernels.candidates import keep_likeliest, offer_candidates, settle_candidates
from patchmatch.kernels.compiling import run
from patchmatch.kernels.contrast import CELL, cell_gains, cell_moments, even_contrast, halve
from patchmatch.kernels.judge import cell_votes, neighbours_support
from patchmatch.kernels.noise import noise_bounds
from patchmatch.kernels.search import block_costs, deepest_minima
from patchmatch.kernels.windows import cell_gradients, refine_windows, window_residuals
from patchmatch.nets import motion_steps
from patchmatch.nets.candidates import APART
from patchmatch.nets.motion_steps import (
    CLIP,
    FLOOR,
    SMALLEST_TRUST,
    SOFTENING,
    STANDS_FOR,
    WEISZFELD,
)
from patchmatch.ops.lucas_kanade import DAMPING, LONGEST, NOTHING, PLENTY

__all__ = ["Matching", "Messages", "describe", "keep", "offer", "search", "settle", "votes"]


def describe(frames: Tensor, noise: Tensor, levels: int) -> list[Tensor]:
    """As that of ``motion_steps``."""
    described = []
    image = frames[:, 0].contiguous()
    for level in range(levels):
        if level:
            (batch, height, width), whole = image.shape, image
            image = frames.new_empty(batch, -(-height // 2), -(-width // 2))
            run(halve, whole, image)
        batch, height, width = image.shape
        moments = frames.new_empty(batch, 2, -(-height // CELL), -(-width // CELL))
        gains = frames.new_empty(batch, 2, moments.shape[2], moments.shape[3] + 2)
        run(cell_moments, image, moments)
        run(cell_gains, moments, FLOOR, gains)
        even = frames.new_empty(batch, 2, height, width)
        run(even_contrast, image, gains, noise / 2**level, even)
        described.append(even)
    return described


def search(
    described0: Tensor, described1: Tensor, shape: torch.Size, block: int, radius: int, count: int
) -> Tensor:
    """As that of ``motion_steps``."""
    around = 2 * radius + 1
    axis = torch.arange(around) - radius
    length = 1e-4 * (axis[:, None] ** 2 + axis**2).sqrt()  # among equals, the shortest
    padded = F.pad(described1[:, :1], (radius,) * 4, mode="replicate")[:, 0]
    cost = padded.new_empty(*shape, around**2)
    run(block_costs, described0, padded, block, CLIP, cost)
    best = cost.new_empty(*shape, count, 2)
    run(deepest_minima, cost, length.flatten(), best.flatten(0, 2))
    return best


def offer(candidates: Tensor, level: int, count: int | None) -> Tensor:
    """As that of ``motion_steps``."""
    shape = candidates.shape[:3]
    if count is None:
        count = candidates.shape[3] + (10 if level else 5)
    everywhere = candidates[..., 0, :].flatten(1, 2).median(dim=1).values
    offered = candidates.new_empty(*shape, count, 2)
    flat = offered.flatten(0, 2)
    run(offer_candidates, candidates.contiguous(), everywhere, level > 0, APART, flat)
    return offered


def keep(candidates: Tensor, logits: Tensor, count: int) -> Tensor:
    """As that of ``motion_steps``."""
    kept = candidates.new_empty(*candidates.shape[:3], count, 2)
    flat, logits = candidates.contiguous().flatten(0, 2), logits.contiguous().flatten(0, 2)
    run(keep_likeliest, flat, logits, APART, kept.flatten(0, 2))
    return kept


def settle(offered: Tensor, logits: Tensor, best: Tensor) -> Tensor:
    """As that of ``motion_steps``."""
    answer = offered.new_empty(*offered.shape[:3], 2)
    probability = logits.softmax(dim=-1).flatten(0, 2)
    run(
        settle_candidates, offered.contiguous().flatten(0, 2), probability,
        best.contiguous().flatten(0, 3), STANDS_FOR, WEISZFELD, SOFTENING, answer.flatten(0, 2),
    )  # fmt: skip
    return answer


def votes(residual: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """As that of ``motion_steps``."""
    found = residual.new_empty(*residual.shape[:4], len(weight))
    flat = residual.contiguous().flatten(0, 2), known.contiguous().flatten(0, 2)
    run(cell_votes, *flat, weight.T.contiguous(), found.flatten(0, 2))
    return found


class Messages:
    """As that of ``motion_steps``."""

    def __init__(self, candidates: Tensor, trust: Tensor, reaches: tuple[float, ...]) -> None:
        self.candidates, self.trust = candidates.contiguous(), trust[..., 0].contiguous()
        self.reaches = torch.tensor(reaches)

    def support(self, belief: Tensor) -> Tensor:
        """As that of ``motion_steps``."""
        found = belief.new_empty(*belief.shape, 2 * len(self.reaches))
        run(
            neighbours_support, self.candidates, belief, self.trust,
            self.reaches, SMALLEST_TRUST, found,
        )  # fmt: skip
        return found


class Matching(motion_steps.Matching):
    """As that of ``motion_steps``, in one pass over the pixels of the windows."""

    def _cut(self, image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor]:
        grid, count = torch.tensor(self.shape[1:]), self.shape.numel()
        self.windows = image0.contiguous(), image1.contiguous(), grid, self.block, self.side
        tensor = image0.new_empty(count, 16, 3)
        loudness, self.quiet, self.noisy = image0.new_empty(3, count, 16)
        run(cell_gradients, *self.windows, tensor, loudness)
        run(noise_bounds, loudness, CLIP, self.quiet, self.noisy)
        return tensor, loudness

    def residual(self, candidates: Tensor) -> Tensor:
        """As that of ``motion_steps``."""
        flat = candidates.contiguous().flatten(0, 2)
        found = flat.new_empty(*flat.shape[:2], 16)
        run(window_residuals, *self.windows, flat, self.quiet, self.noisy, CLIP, found)
        return found.unflatten(0, self.shape)

    def refine(self, candidates: Tensor, trust: Any, level: int, steps: int) -> list[Tensor]:
        """As that of ``motion_steps``; only the last step is returned."""
        texture = motion_steps.log_texture(self.roughness).flatten(0, 2)
        limits = torch.tensor([DAMPING, LONGEST, NOTHING, PLENTY, trust.scale**2, trust.least])
        refined = candidates.clone(memory_format=torch.contiguous_format)
        run(
            refine_windows, *self.windows, self.tensor, self.loudness, texture,
            *trust.network(level), limits, steps, refined.flatten(0, 2),
        )  # fmt: skip
        return [refined]
