"""The steps of ``motion_steps`` by compiled kernels, without gradients, on the CPU."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.kernels.answers import cell_ballot, draw_together, gather_answers
from patchmatch.kernels.candidates import keep_likeliest, offer_candidates, settle_candidates
from patchmatch.kernels.compiling import ahead, run, run_in_parts
from patchmatch.kernels.contrast import CELL, cell_gains, cell_moments, even_contrast, halve
from patchmatch.kernels.judge import (
    answer_evidence,
    cell_votes,
    neighbours_support,
    regard_candidates,
)
from patchmatch.kernels.noise import noise_bounds, quietest_tiles, slight_steps
from patchmatch.kernels.search import block_costs, deepest_minima
from patchmatch.kernels.windows import cell_gradients, refine_windows, window_residuals
from patchmatch.nets import motion_steps
from patchmatch.nets.answer_steps import PRICE, ROUNDS, TIED
from patchmatch.nets.candidates import APART, common
from patchmatch.nets.judge_steps import SMALLEST_TRUST
from patchmatch.nets.motion_steps import (
    CLIP,
    FLOOR,
    SOFTENING,
    STANDS_FOR,
    WEISZFELD,
)
from patchmatch.ops.lucas_kanade import DAMPING, LONGEST, NOTHING, PLENTY
from patchmatch.ops.noise import (
    BRIGHT,
    DARK,
    DEVIATION,
    EDGE,
    QUANTISED,
    QUIET,
    SPARSE,
    SQUARE,
    excess,
    tile_grid,
)

__all__ = [
    "Matching",
    "Messages",
    "answers_around",
    "ballot",
    "describe",
    "keep",
    "matchings",
    "offer",
    "regard",
    "search",
    "settle",
    "smooth",
    "votes",
]


def describe(frames: Tensor, levels: int) -> list[Tensor]:
    """As that of ``motion_steps``."""
    described = []
    image = frames[:, 0].contiguous()
    noise = _noise(image)
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


def _noise(image: Tensor) -> Tensor:
    """As ``noise_level``, of (B, H, W)."""
    bent = image.new_empty(len(image))
    limits = np.array([DARK, BRIGHT], np.float32)
    run(quietest_tiles, image, *tile_grid(*image.shape[1:]), limits, QUIET, bent)
    sums, counts = image.new_empty(2, len(image), 2, SQUARE)
    run(slight_steps, image, SPARSE, EDGE, sums, counts)
    quantised = QUANTISED * excess(sums, counts)
    return ((bent * DEVIATION).square() + quantised.square()).sqrt()


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
    everywhere = common(candidates).flatten(1).contiguous()
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
    run(
        settle_candidates, offered.contiguous().flatten(0, 2), logits.contiguous().flatten(0, 2),
        best.contiguous().flatten(0, 3), STANDS_FOR, WEISZFELD, SOFTENING, answer.flatten(0, 2),
    )  # fmt: skip
    return answer


def votes(residual: Tensor, texture: Tensor, noise: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As that of ``motion_steps``."""
    found = residual.new_empty(*residual.shape[:4], len(weight))
    flat = (x.contiguous().flatten(0, 2) for x in (residual, texture, noise))
    run(cell_votes, *flat, weight.T.contiguous(), bias, found.flatten(0, 2))
    return found


def regard(
    candidates: Tensor, residual: Tensor, texture: Tensor, noise: Tensor, level: int
) -> Tensor:
    """As that of ``motion_steps``."""
    found = residual.new_empty(*residual.shape[:4], 5)
    middle = common(candidates).flatten(1).contiguous()
    flat = (x.contiguous().flatten(0, 2) for x in (residual, texture, noise))
    run(
        regard_candidates, candidates.contiguous().flatten(1, 2), middle, *flat,
        2.0**level, found.flatten(0, 2),
    )  # fmt: skip
    return found


class Messages:
    """As that of ``motion_steps``."""

    def __init__(self, candidates: Tensor, trust: Tensor, reaches: tuple[float, ...]) -> None:
        self.candidates, self.trust = candidates.contiguous(), trust[..., 0].contiguous()
        self.reaches = np.array(reaches, np.float32)

    def support(self, logits: Tensor) -> Tensor:
        """As that of ``motion_steps``."""
        found = logits.new_empty(*logits.shape, 2 * len(self.reaches))
        run(
            neighbours_support, self.candidates, logits.contiguous(), self.trust,
            self.reaches, SMALLEST_TRUST, found,
        )  # fmt: skip
        return found


def answers_around(answer: Tensor) -> tuple[Tensor, Tensor]:
    """As that of ``motion_steps``."""
    shape = answer.shape[:3]
    offered = answer.new_empty(*shape, 9, 2)
    fresh = torch.empty(*shape, 9, dtype=torch.bool)
    run(gather_answers, answer.contiguous(), APART, offered.flatten(0, 2), fresh.flatten(0, 2))
    return offered, fresh


def ballot(
    offered: Tensor,
    fresh: Tensor,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """As that of ``motion_steps``."""
    first: Any = layers[0]
    last: Any = layers[2]
    share = residual.new_empty(fresh.shape)
    flat = (x.contiguous().flatten(0, 2) for x in (offered, fresh, residual, texture, noise))
    run(
        cell_ballot, *flat, formula, PRICE, first.weight.T.contiguous(), first.bias,
        torch.cat([last.weight[0], last.bias]), share.flatten(0, 2),
    )  # fmt: skip
    return share


def smooth(answer: Tensor, held: Tensor, firm: Tensor, voice: Tensor, reach: Tensor) -> Tensor:
    """As that of ``motion_steps``."""
    found = torch.empty_like(answer, memory_format=torch.contiguous_format)
    given = (x.contiguous() for x in (answer, held, firm, voice, reach))
    run(draw_together, *given, TIED, ROUNDS, found)
    return found


class Matching(motion_steps.Matching):
    """As that of ``motion_steps``, in one pass over the pixels of the windows."""

    def _cut(self, image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor]:
        count = self.shape.numel()
        images = (image.detach().contiguous().numpy() for image in (image0, image1))
        self.windows = *images, np.array(self.shape[1:]), self.block, (0,) * self.side
        tensor = image0.new_empty(count, 16, 3)
        loudness, self.quiet, self.noisy = image0.new_empty(3, count, 16)
        run_in_parts(cell_gradients, count, *self.windows, tensor, loudness)
        run(noise_bounds, loudness, CLIP, self.quiet, self.noisy)
        return tensor, loudness

    def residual(self, candidates: Tensor, wanted: Tensor | None = None) -> Tensor:
        """As that of ``motion_steps``."""
        flat = candidates.contiguous().flatten(0, 2)
        found = flat.new_empty(*flat.shape[:2], 16)
        if wanted is None:
            counts = torch.full((len(flat),), flat.shape[1])
        else:
            counts = wanted.flatten(0, 2).sum(dim=-1)
        run_in_parts(
            window_residuals, len(flat), *self.windows, flat, counts, self.quiet, self.noisy,
            CLIP, found,
        )  # fmt: skip
        return found.unflatten(0, self.shape)

    def refine(self, candidates: Tensor, trust: Any, level: int, steps: int) -> list[Tensor]:
        """As that of ``motion_steps``; only the last step is returned."""
        limits = [DAMPING, LONGEST, NOTHING, PLENTY, trust.scale**2, trust.least]
        limits = np.array(limits, np.float32)
        refined = candidates.clone(memory_format=torch.contiguous_format)
        network = trust.network(level)
        units = (0,) * len(network[1])
        run_in_parts(
            refine_windows, self.shape.numel(), *self.windows, self.tensor, self.loudness,
            self.texture.flatten(0, 2), units, *network, limits, steps, refined.flatten(0, 2),
        )  # fmt: skip
        return [refined]

    def evidence(self, answer: Tensor, offered: Tensor, probability: Tensor) -> Tensor:
        """As that of ``motion_steps``."""
        residual = self.residual(torch.stack([answer, torch.zeros_like(answer)], dim=-2))
        found = answer.new_empty(*self.shape, 10)
        flat = (x.contiguous().flatten(0, 2) for x in (residual, self.texture, self.noise))
        candidates = offered.contiguous().flatten(0, 2), probability.contiguous().flatten(0, 2)
        run(answer_evidence, *flat, *candidates, answer.contiguous(), found.flatten(0, 2))
        return found


def matchings(
    described0: list[Tensor], described1: list[Tensor], shape: torch.Size, block: int
) -> Iterator[Matching]:
    """As that of ``motion_steps``, made ahead where there is a thread for it."""
    coming = [
        ahead(Matching, described0[level], described1[level], shape, block >> level)
        for level in reversed(range(len(described0)))
    ]
    return (made() for made in coming)
