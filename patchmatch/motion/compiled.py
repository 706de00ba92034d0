"""The primitives of ``MotionNet`` in compiled loops, for the CPU without gradients.

``patchmatch.motion.tensors`` has the same functions as tensor operations.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.process import in_threads
from patchmatch.motion import candidates as candidate_ops
from patchmatch.motion import consensus_steps as answer_steps
from patchmatch.motion import noise
from patchmatch.motion import refine as motion_steps
from patchmatch.motion.candidates import Offered, with_rival
from patchmatch.motion.coarse_to_fine import LEVELS
from patchmatch.motion.features import AROUND, CLIP, CREDIT, SOFTENING, Level
from patchmatch.motion.kernels.answers import cell_ballot
from patchmatch.motion.kernels.answers import draw_together as draw_kernel
from patchmatch.motion.kernels.candidates import (
    AMONG_EIGHT,
    AMONG_FOUR,
    ANSWERS,
    common_motion,
    gather_answers,
    offer_candidates,
    settle_candidates,
)
from patchmatch.motion.kernels.contrast import CELL
from patchmatch.motion.kernels.cutting import CELLS
from patchmatch.motion.kernels.description import describe_frames
from patchmatch.motion.kernels.judge import TILE, hear_neighbours, weigh_candidates
from patchmatch.motion.kernels.noise import cell_statistics
from patchmatch.motion.kernels.registration import refine_windows
from patchmatch.motion.kernels.search import block_costs, deepest_minima
from patchmatch.motion.kernels.windows import cell_gradients, window_residuals
from patchmatch.motion.lucas_kanade import DAMPING, LONGEST, NOTHING, PLENTY
from patchmatch.motion.refine import SMALLEST_WINDOW, MatchingBase
from patchmatch.motion.scoring import NEAR, NOT_JUDGED, REACHES, TIE, linear_layers
from patchmatch.motion.scoring_steps import SMALLEST_TRUST
from patchmatch.motion.windows import cell_shares

__all__ = ["with_rival"]

CELL_COUNT = CELLS**2


def describe(frames: Tensor, levels: int = LEVELS) -> list[Level]:
    """Same as ``features.describe``, with frames distributed over threads."""
    found = in_threads(lambda frame: _describe_frame(frame, levels), frames.split(1))
    return [Level(*map(torch.cat, zip(*level, strict=True))) for level in zip(*found, strict=True)]


def _describe_frame(frames: Tensor, levels: int) -> list[Level]:
    batch, _, height, width = frames.shape
    images, described = [frames[:, 0].contiguous()], []
    for level in range(levels):
        if level:
            height, width = -(-height // 2), -(-width // 2)
            images.append(frames.new_empty(batch, height, width))
        loud = frames.new_empty(batch, -(-height // CELL), -(-width // CELL))
        described.append(Level(torch.empty_like(images[-1]), loud))
    telling = (
        noise.tile_grid(*frames.shape[2:]),
        np.array([noise.DARK, noise.BRIGHT], np.float32),
        *(noise.QUIET, noise.DEVIATION, noise.SPARSE, noise.EDGE, noise.QUANTISED),
    )
    even, loud = zip(*described, strict=True)
    given = tuple(images), (0,) * AROUND, SOFTENING, telling
    describe_frames(*given, frames.new_empty(batch), even, loud)
    return described


def search(
    described0: Level, described1: Level, shape: torch.Size, block: int, radius: int, count: int
) -> Tensor:
    """Same as ``features.search``."""
    even, rim = described0.even.contiguous(), (radius,) * 4
    padded = F.pad(described1.even[:, None], rim, mode="replicate")[:, 0]
    cost = even.new_empty(*shape, (2 * radius + 1) ** 2)
    block_costs(even, padded, block, CLIP, described0.noise.contiguous(), CELL, CREDIT, cost)
    axis = np.arange(-radius, radius + 1)
    # Prefers the shortest displacement among equal costs.
    lengths = 1e-4 * np.hypot(axis[:, None], axis).ravel().astype(np.float32)
    best = even.new_empty(shape.numel(), count, 2)
    deepest_minima(cost, lengths, best)
    return best.unflatten(0, shape)


def offer(above: Tensor, level: int, count: int | None = None) -> Offered:
    """Same as ``candidates.offer``."""
    above = above.contiguous()
    shape, own = above.shape[:3], above.shape[3]
    common = above.new_empty(shape[0], 2)
    common_motion(above, candidate_ops.NEARBY, candidate_ops.FEW, common)
    most = own + (AMONG_EIGHT if level else AMONG_FOUR)
    count = most if count is None else min(count, most)
    offered = above.new_empty(shape.numel(), count, 2)
    fresh = torch.empty(shape.numel(), count, dtype=torch.bool)
    exact = candidate_ops.SAME, candidate_ops.EXACT
    offer_candidates(above, common, level > 0, *exact, offered, fresh)
    return Offered(offered.unflatten(0, shape), fresh.unflatten(0, shape), common)


class Matching(MatchingBase):
    """Same as ``refine.Matching``."""

    def __init__(self, level0: Level, level1: Level, shape: torch.Size, block: int) -> None:
        self.shape, self.block, self.size = shape, block, level0.even.shape[-2:]
        self.side = max(block, SMALLEST_WINDOW)
        self.shares = cell_shares(block, self.side, level0.even.device)
        self.images = level0.even.contiguous(), level1.even.contiguous()
        noises = level0.noise.contiguous(), level1.noise.contiguous()
        self.grid = np.array(shape[1:])
        blocks = shape.numel()
        self.tensor = torch.empty(blocks, CELL_COUNT, 3)
        cell_gradients(*self.images, self.grid, block, self.side, self.tensor)
        self.loudness, texture, spread, self.quiet, self.noisy = torch.empty(5, blocks, CELL_COUNT)
        cell_statistics(
            self.tensor, *noises, self.grid, np.array(self.size), block, self.side,
            motion_steps.NO_TEXTURE, CLIP, self.loudness, texture, spread, self.quiet, self.noisy,
        )  # fmt: skip
        self.texture, self.noise = texture.unflatten(0, shape), spread.unflatten(0, shape)

    def residual(self, candidates: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Same as ``refine.Matching.residual``; what is not wanted stays undefined."""
        flat = candidates.flatten(0, 2).contiguous()
        wanted = torch.ones(flat.shape[:2], dtype=torch.bool) if wanted is None else wanted
        residual = flat.new_zeros(*flat.shape[:2], CELL_COUNT)
        window_residuals(
            *self.images, self.grid, self.block, self.side, flat, wanted.reshape(flat.shape[:2]),
            self.quiet, self.noisy, CLIP, residual,
        )  # fmt: skip
        return residual.unflatten(0, self.shape)

    def refine(self, candidates: Tensor, trust: Any, level: int, steps: int) -> list[Tensor]:
        """Same as ``refine.Matching.refine``, of which the last step alone is returned."""
        refined = candidates.flatten(0, 2).clone()
        limits = DAMPING, LONGEST, NOTHING, PLENTY, trust.scale**2, trust.least
        refine_windows(
            *self.images, self.grid, self.block, self.side, self.tensor, self.loudness,
            self.texture.flatten(0, 2), *trust.network(), float(level), limits, steps, refined,
        )  # fmt: skip
        return [refined.unflatten(0, self.shape)]


def score(
    judge: Any, offered: Offered, residual: Tensor, matching: MatchingBase, level: int
) -> list[Tensor]:
    """Same as ``Judge.forward``, of which the last logits alone are returned."""
    shape, count = offered.candidates.shape[:3], offered.candidates.shape[3]
    blocks, tiles = shape.numel(), -(-shape.numel() // TILE)
    given, fresh = offered.candidates.flatten(0, 2), offered.fresh.flatten(0, 2)
    network, rounds = judge.network(), judge.rounds
    plain = residual.new_empty(blocks, count)
    logits = residual.new_full((rounds + 1, blocks, count), NOT_JUDGED)
    belief = residual.new_empty(max(1, rounds), blocks, count)
    trust = residual.new_empty(blocks)
    told = residual.new_empty(tiles, len(network.together[0][1]), TILE * count)
    weigh_candidates(
        given, fresh, residual.flatten(0, 2), matching.texture.flatten(0, 2),
        matching.noise.flatten(0, 2), matching.shares, offered.common, float(level), network, TIE,
        plain, logits, trust, told, belief,
    )  # fmt: skip
    reaches, grid = np.array(REACHES, np.float32), np.array(shape[1:])
    for turn in range(1, rounds + 1):
        hear_neighbours(
            turn, given, fresh, trust, grid, reaches, NEAR, SMALLEST_TRUST, plain, network, told,
            belief, logits,
        )  # fmt: skip
    return [logits[-1].unflatten(0, shape)]


def settle(offered: Tensor, logits: Tensor, best: Tensor | None = None) -> Tensor:
    """Same as ``refine.settle``."""
    shape = offered.shape[:3]
    given, odds = offered.flatten(0, 2).contiguous(), logits.flatten(0, 2).contiguous()
    best = given[:0] if best is None else best.flatten(0, 2).contiguous()
    answer = given.new_empty(len(given), 2)
    steps = motion_steps.STANDS_FOR, motion_steps.WEISZFELD, motion_steps.SOFTENING
    settle_candidates(given, odds, best, *steps, answer)
    return answer.unflatten(0, shape)


def answers_around(answer: Tensor, rival: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Same as ``consensus_steps.answers_around``."""
    shape = answer.shape[:3]
    alone = answer.new_empty(shape.numel(), 2)
    offered = answer.new_empty(shape.numel(), ANSWERS, 2)
    fresh = torch.empty(shape.numel(), ANSWERS, dtype=torch.bool)
    other = rival.flatten(0, 2).contiguous()
    gather_answers(answer.contiguous(), candidate_ops.APART, other, alone, offered, fresh)
    return offered.unflatten(0, shape), fresh.unflatten(0, shape), alone.unflatten(0, shape)


def ballot(
    offered: Tensor,
    fresh: Tensor,
    alone: Tensor,
    residual: Tensor,
    texture: Tensor,
    spread: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """Same as ``consensus_steps.ballot``."""
    given = (x.flatten(0, 2) for x in (offered, fresh, alone, residual, texture, spread))
    share = offered.new_empty(offered.shape[:4])
    network = linear_layers(layers)
    cell_ballot(*given, formula, answer_steps.PRICE, *network, share.flatten(0, 2))
    return share


def draw_together(
    answer: Tensor, held: Tensor, firm: Tensor, voice: Tensor, reach: Tensor
) -> Tensor:
    """Same as ``consensus_steps.draw_together``."""
    found = torch.empty_like(answer, memory_format=torch.contiguous_format)
    given = (x.flatten(0, 2).contiguous() for x in (held, firm, voice))
    settings = reach, answer_steps.TIED, answer_steps.ROUNDS
    draw_kernel(answer.contiguous(), *given, *settings, found)
    return found
