"""The steps of ``motion_steps`` by compiled kernels, without gradients, on the CPU."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchmatch.kernels.answers import (
    answer_evidence,
    cell_ballot,
    draw_together,
    place_evidence,
    weigh_answers,
)
from patchmatch.kernels.candidates import (
    gather_answers,
    offer_candidates,
    settle_candidates,
    take_rivals,
)
from patchmatch.kernels.compiling import ahead, run, run_in_parts
from patchmatch.kernels.judge import TILE, hear_neighbours, weigh_candidates
from patchmatch.kernels.noise import cell_statistics
from patchmatch.kernels.registration import refine_windows
from patchmatch.kernels.windows import cell_gradients, window_residuals
from patchmatch.nets import motion_steps
from patchmatch.nets.answer_steps import PRICE, ROUNDS, TIED
from patchmatch.nets.answers import ROUGH
from patchmatch.nets.candidates import APART, EXACT, FEW, NEARBY, RIVAL, SAME, UNLIKELY, Offered
from patchmatch.nets.evidence import EVIDENCE
from patchmatch.nets.judge import NEAR, NOT_JUDGED, REACHES, TIE, linear_layers
from patchmatch.nets.judge_steps import SMALLEST_TRUST
from patchmatch.nets.level_kernels import describe, search
from patchmatch.nets.levels import CLIP, Level
from patchmatch.nets.motion_steps import (
    NO_TEXTURE,
    SOFTENING,
    STANDS_FOR,
    WEISZFELD,
)
from patchmatch.ops.lucas_kanade import DAMPING, LONGEST, NOTHING, PLENTY

__all__ = [
    "Level",
    "Matching",
    "answers_around",
    "ballot",
    "describe",
    "judged",
    "matchings",
    "offer",
    "search",
    "settle",
    "smoothed",
    "with_rival",
]

REACHED = np.array(REACHES, np.float32)


def offer(candidates: Tensor, level: int, count: int | None = None) -> Offered:
    """As that of ``candidates``."""
    shape, most = candidates.shape[:3], candidates.shape[3] + (10 if level else 5)
    count = most if count is None else min(count, most)
    offered = candidates.new_empty(*shape, count, 2)
    fresh = torch.empty(*shape, count, dtype=torch.bool)
    everywhere = candidates.new_empty(len(candidates), 2)
    run(
        offer_candidates, candidates.contiguous(), level > 0, NEARBY, FEW, SAME, EXACT,
        offered.flatten(0, 2), fresh.flatten(0, 2), everywhere,
    )  # fmt: skip
    return Offered(offered, fresh, everywhere)


def judged(
    judge: Any, offered: Offered, residual: Tensor, matching: "Matching", level: int
) -> list[Tensor]:
    """As that of ``motion_steps``."""
    network = judge.network()
    candidates, fresh, common = offered
    flat = [x.flatten(0, 2) for x in (fresh, residual, matching.texture, matching.noise)]
    blocks, count = flat[0].shape
    logits = candidates.new_full((judge.rounds + 1, *fresh.shape), NOT_JUDGED)
    plain, trust = candidates.new_empty(blocks, count), candidates.new_empty(blocks)
    together, *after = network.together
    tiles = -(-blocks // TILE)
    told = candidates.new_empty(tiles, len(together[1]), TILE * count)
    run_in_parts(
        weigh_candidates, tiles, candidates.flatten(1, 2), *flat, matching.shares, common,
        float(level), network.formula, TIE, network.cell, network.evidence, *network.alone,
        *network.trust, together, plain, logits[0].flatten(0, 2), trust, told, blocks=TILE,
    )  # fmt: skip
    run(
        hear_neighbours, candidates.flatten(0, 2), flat[0], trust, *fresh.shape[1:3], REACHED,
        NEAR, SMALLEST_TRUST, plain, network.formula, told, together, *after,
        logits.flatten(1, 3),
    )  # fmt: skip
    return list(logits)


def with_rival(candidates: Tensor, logits: Tensor) -> Tensor:
    """As that of ``candidates``."""
    chosen = candidates.new_empty(*candidates.shape[:3], 2, 2)
    flat = (x.flatten(0, 2) for x in (candidates, logits))
    run(take_rivals, *flat, RIVAL, UNLIKELY, chosen.flatten(0, 2))
    return chosen


def settle(offered: Tensor, logits: Tensor, best: Tensor | None = None) -> Tensor:
    """As that of ``motion_steps``."""
    best = offered.new_empty(0, 2) if best is None else best.contiguous().flatten(0, 3)
    answer = offered.new_empty(*offered.shape[:3], 2)
    flat = (x.contiguous().flatten(0, 2) for x in (offered, logits))
    run(settle_candidates, *flat, best, STANDS_FOR, WEISZFELD, SOFTENING, answer.flatten(0, 2))
    return answer


def answers_around(answer: Tensor, rival: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As that of ``motion_steps``."""
    shape = *answer.shape[:3], 10
    offered, fresh = answer.new_empty(*shape, 2), torch.empty(shape, dtype=torch.bool)
    alone = rival.clone(memory_format=torch.contiguous_format)
    flat = (x.flatten(0, 2) for x in (alone, offered, fresh))
    run(gather_answers, answer.contiguous(), APART, *flat)
    return offered, fresh, alone


def ballot(
    offered: Tensor,
    fresh: Tensor,
    alone: Tensor,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """As that of ``motion_steps``."""
    share = residual.new_empty(fresh.shape)
    given = offered, fresh, alone, residual, texture, noise
    flat = (x.contiguous().flatten(0, 2) for x in given)
    run(cell_ballot, *flat, formula, PRICE, *linear_layers(layers), share.flatten(0, 2))
    return share


def smoothed(smoother: Any, answer: Tensor, matching: "Matching", evidence: Tensor) -> Tensor:
    """As that of ``motion_steps``."""
    found = torch.empty_like(answer, memory_format=torch.contiguous_format)
    held, voice = answer.new_empty(*answer.shape[:3], 3), answer.new_empty(answer.shape[:3])
    given = held, torch.empty_like(found), voice
    flat = (x.flatten(0, 2) for x in given)
    run(
        weigh_answers, matching.tensor, evidence.flatten(0, 2), smoother.formula, ROUGH,
        *linear_layers(smoother.layers), *flat,
    )  # fmt: skip
    run(draw_together, answer.contiguous(), *given, smoother.formula, TIED, ROUNDS, found)
    return found


class Matching(motion_steps.Matching):
    """As that of ``motion_steps``, in one pass over the pixels of the windows."""

    def _cut(self, level0: Level, level1: Level) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, grid = self.shape.numel(), np.array(self.shape[1:])
        images = (level.even.detach().contiguous().numpy() for level in (level0, level1))
        noise = (level.noise.detach().contiguous() for level in (level0, level1))
        self.windows = *images, grid, self.block, (0,) * self.side
        tensor, told = torch.empty(count, 16, 3), torch.empty(5, count, 16)
        run_in_parts(cell_gradients, count, *self.windows, tensor)
        run(cell_statistics, tensor, *noise, grid, self.block, self.side, NO_TEXTURE, CLIP, *told)
        loudness, texture, deviation, self.quiet, self.noisy = told
        return tensor, loudness, texture, deviation

    def residual(self, candidates: Tensor, wanted: Tensor | None = None) -> Tensor:
        """As that of ``motion_steps``."""
        if wanted is None:
            wanted = torch.ones(candidates.shape[:-1], dtype=torch.bool)
        flat, wanted = candidates.contiguous().flatten(0, 2), wanted.contiguous().flatten(0, 2)
        found = flat.new_empty(*wanted.shape, 16)
        run_in_parts(
            window_residuals, len(flat), *self.windows, flat, wanted, self.quiet, self.noisy,
            CLIP, found,
        )  # fmt: skip
        return found.unflatten(0, self.shape)

    def refine(self, candidates: Tensor, trust: Any, level: int, steps: int) -> list[Tensor]:
        """As that of ``motion_steps``; only the last step is returned."""
        limits = DAMPING, LONGEST, NOTHING, PLENTY, trust.scale**2, trust.least
        refined = candidates.clone(memory_format=torch.contiguous_format)
        first, last = trust.network()
        run_in_parts(
            refine_windows, self.shape.numel(), *self.windows, self.tensor, self.loudness,
            self.texture.flatten(0, 2), (0,) * len(first[1]), first, last, float(level),
            limits, steps, refined.flatten(0, 2),
        )  # fmt: skip
        return [refined]

    def evidence(
        self, answer: Tensor, at_rest: Tensor, offered: Tensor, probability: Tensor
    ) -> Tensor:
        """As that of ``motion_steps``."""
        residual = self.residual(answer.unsqueeze(-2)).squeeze(-2)
        found = answer.new_empty(*self.shape, EVIDENCE)
        cells = residual, at_rest, self.texture, self.noise
        flat = (x.contiguous().flatten(0, 2) for x in cells)
        candidates = offered.contiguous().flatten(0, 2), probability.contiguous().flatten(0, 2)
        answer = answer.contiguous()
        run(answer_evidence, *flat, *candidates, answer, found.flatten(0, 2))
        run(place_evidence, answer, self.block, *self.size, found)
        return found


def matchings(
    described0: list[Level], described1: list[Level], shape: torch.Size, block: int
) -> Iterator[Matching]:
    """As that of ``motion_steps``, made ahead where there is a thread for it."""
    coming = [
        ahead(Matching, described0[level], described1[level], shape, block >> level)
        for level in reversed(range(len(described0)))
    ]
    return (made() for made in coming)
