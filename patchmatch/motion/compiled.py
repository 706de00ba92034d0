"""``MotionNet`` in compiled loops, for the CPU without gradients."""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion import candidates
from patchmatch.motion import consensus as answers
from patchmatch.motion import consensus_steps as answer_steps
from patchmatch.motion import noise as noise_ops
from patchmatch.motion import refine as motion_steps
from patchmatch.motion import scoring_steps as judge_steps
from patchmatch.motion.coarse_to_fine import COARSEST, FIRST, MOST, STEPS, Motion
from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.features import AROUND, CLIP, CREDIT, SOFTENING, Level
from patchmatch.motion.kernels.candidates import AMONG_EIGHT, AMONG_FOUR, ANSWERS
from patchmatch.motion.kernels.comparison import (
    AnswerWork,
    LevelWork,
    Network,
    Settings,
    compare_frames,
)
from patchmatch.motion.kernels.contrast import CELL
from patchmatch.motion.kernels.cutting import CELLS
from patchmatch.motion.kernels.description import describe_frames
from patchmatch.motion.kernels.judge import TILE
from patchmatch.motion.kernels.team import run
from patchmatch.motion.lucas_kanade import DAMPING, LONGEST, NOTHING, PLENTY
from patchmatch.motion.refine import SMALLEST_WINDOW
from patchmatch.motion.scoring import NEAR, NOT_JUDGED, REACHES, TIE, linear_layers
from patchmatch.motion.windows import cell_shares

# Work per thread: waking a thread for less takes longer than the work.
ENOUGH_PIXELS, ENOUGH_BLOCKS = 50_000, 32
OTHER_STEPS = 32  # steps of a comparison besides message passing and voting


class Compared(NamedTuple):
    """All intermediate results of a comparison.

    Attributes:
        begin: (B, R, C, K, 2), candidates on the coarsest level.
        levels: Results of each other level, the finest first.
        ending: Results of voting and smoothing.
    """

    begin: np.ndarray
    levels: list[LevelWork]
    ending: AnswerWork


def describe(frames: Tensor, levels: int) -> list[Level]:
    """Same as ``features.describe``, with frames distributed over threads."""
    batch, _, height, width = frames.shape
    images, described = [frames[:, 0].contiguous()], []
    for level in range(levels):
        if level:
            height, width = -(-height // 2), -(-width // 2)
            images.append(frames.new_empty(batch, height, width))
        loud = frames.new_empty(batch, -(-height // CELL), -(-width // CELL))
        described.append(Level(torch.empty_like(images[-1]), loud))
    telling = (
        noise_ops.tile_grid(*frames.shape[2:]),
        np.array([noise_ops.DARK, noise_ops.BRIGHT], np.float32),
        noise_ops.QUIET, noise_ops.DEVIATION, noise_ops.SPARSE, noise_ops.EDGE,
        noise_ops.QUANTISED,
    )  # fmt: skip
    even, loud = zip(*described, strict=True)
    noise = frames.new_empty(batch)
    given = tuple(images), (0,) * AROUND, SOFTENING, telling
    most = min(batch, frames.numel() // ENOUGH_PIXELS)
    run(describe_frames, most, 1, *given, noise, even, loud)
    return described


def compare(
    net: Any,
    described0: list[Level],
    described1: list[Level],
    shape: torch.Size,
    block: int,
    radius: int,
) -> Motion:
    """Same as ``MotionNet.compare`` without a trace; the arguments are those of ``compared``."""
    ending = compared(net, described0, described1, shape, block, radius).ending
    evidence = torch.from_numpy(ending.evidence).unflatten(0, shape)
    return Motion(
        displacement=torch.from_numpy(ending.found), confidence_logits=net.doubt(evidence)
    )


def compared(
    net: Any,
    described0: list[Level],
    described1: list[Level],
    shape: torch.Size,
    block: int,
    radius: int,
) -> Compared:
    """Measure the motion of all blocks and return every intermediate result.

    Args:
        net: ``MotionNet``.
        described0: The earlier frames, from ``describe``.
        described1: The later frames.
        shape: (B, R, C), the grid of blocks.
        block: Side of a block in pixels.
        radius: Radius of the exhaustive search in pixels of the coarsest level.
    """
    judge, voting = net.judge.network(), net.ballot
    network = Network(
        judge,
        net.trust.network(),
        (voting.formula, *linear_layers(voting.layers)),
        (net.smoother.formula, *linear_layers(net.smoother.layers)),
    )
    sides = [max(block >> level, SMALLEST_WINDOW) for level in range(COARSEST)]
    windows = tuple(
        (side, cell_shares(block >> level, side, torch.device("cpu")))
        for level, side in enumerate(sides)
    )
    counts = [AMONG_FOUR + 2, AMONG_EIGHT + 2, AMONG_EIGHT + FIRST]
    work = tuple(
        _level_work(shape, count if net.training else min(count, MOST), judge, net.judge.rounds)
        for count in counts
    )
    ending = _answer_work(shape, voting.rounds)
    earlier, later = (
        tuple(
            Level(level.even.detach().contiguous(), level.noise.detach().contiguous())
            for level in described
        )
        for described in (described0, described1)
    )
    padded = F.pad(later[-1].even[:, None], (radius,) * 4, mode="replicate")[:, 0]
    cost = np.empty((*shape, (2 * radius + 1) ** 2), np.float32)
    begin = np.empty((*shape, FIRST, 2), np.float32)
    settings = _settings(radius, net.trust.scale**2, net.trust.least)
    grid = np.array(shape[1:])
    given = earlier, later, padded, grid, block, windows, settings, network
    steps = OTHER_STEPS + COARSEST * net.judge.rounds + 4 * (len(ending.answers) - 1)
    most = shape.numel() // ENOUGH_BLOCKS
    run(compare_frames, most, steps, *given, cost, begin, work, ending)
    return Compared(begin=begin, levels=list(work), ending=ending)


def _level_work(shape: torch.Size, count: int, judge: Any, rounds: int) -> LevelWork:
    """Allocate the results of a level with ``count`` candidates per block."""
    blocks, tiles, cells = shape.numel(), -(-shape.numel() // TILE), CELLS**2
    by_cell = (np.empty((blocks, cells), np.float32) for _ in range(5))
    units = len(judge.together[0][1])
    return LevelWork(
        np.empty((blocks, cells, 3), np.float32),
        *by_cell,
        common=np.empty((shape[0], 2), np.float32),
        offered=np.empty((blocks, count, 2), np.float32),
        fresh=np.empty((blocks, count), np.bool_),
        residual=np.empty((blocks, count, cells), np.float32),
        plain=np.empty((blocks, count), np.float32),
        logits=np.full((rounds + 1, blocks, count), NOT_JUDGED, np.float32),
        belief=np.empty((max(1, rounds), blocks, count), np.float32),
        trust=np.empty(blocks, np.float32),
        told=np.empty((tiles, units, TILE * count), np.float32),
        refined=np.empty((*shape, 2, 2), np.float32),
    )


def _answer_work(shape: torch.Size, rounds: int) -> AnswerWork:
    """Allocate the results of voting and smoothing, for ``rounds`` votes."""
    blocks, cells = shape.numel(), CELLS**2
    return AnswerWork(
        answers=np.empty((max(1, rounds) + 1, *shape, 2), np.float32),
        alone=np.empty((blocks, 2), np.float32),
        offered=np.empty((blocks, ANSWERS, 2), np.float32),
        fresh=np.empty((blocks, ANSWERS), np.bool_),
        asked=np.empty((blocks, ANSWERS), np.bool_),
        residual=np.empty((blocks, ANSWERS, cells), np.float32),
        share=np.empty((blocks, ANSWERS), np.float32),
        logits=np.empty((blocks, ANSWERS), np.float32),
        left=np.empty((blocks, 1, cells), np.float32),
        evidence=np.empty((blocks, EVIDENCE), np.float32),
        held=np.empty((blocks, 3), np.float32),
        firm=np.empty((blocks, 2), np.float32),
        voice=np.empty(blocks, np.float32),
        found=np.empty((*shape, 2), np.float32),
    )


@functools.cache
def _settings(radius: int, quarter: float, least: float) -> Settings:
    axis = np.arange(-radius, radius + 1)
    # Prefers the shortest displacement among equal costs.
    lengths = 1e-4 * np.hypot(axis[:, None], axis).ravel().astype(np.float32)
    return Settings(
        clip=CLIP, credit=CREDIT, lengths=lengths,
        nearby=candidates.NEARBY, few=candidates.FEW,
        same=candidates.SAME, exact=candidates.EXACT,
        no_texture=motion_steps.NO_TEXTURE,
        tie=TIE, reaches=np.array(REACHES, np.float32), near=NEAR,
        smallest_trust=judge_steps.SMALLEST_TRUST,
        rival=candidates.RIVAL, unlikely=candidates.UNLIKELY,
        registration=(DAMPING, LONGEST, NOTHING, PLENTY, quarter, least), rounds=STEPS,
        stands_for=motion_steps.STANDS_FOR, weiszfeld=motion_steps.WEISZFELD,
        softening=motion_steps.SOFTENING,
        apart=candidates.APART, price=answer_steps.PRICE, never=answers.NEVER,
        rough=answers.ROUGH, tied=answer_steps.TIED, drawn=answer_steps.ROUNDS,
    )  # fmt: skip
