"""All steps from the features of two frames to the motion of each block, in one compiled call.

``patchmatch.motion.net.MotionNet`` does the same by tensor operations. B frames of R x C blocks
are N blocks, numbered row by row; each has K candidates.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy import float32

from patchmatch.motion.kernels.answers import (
    answer_evidence,
    cell_ballot,
    draw_together,
    place_evidence,
    weigh_answers,
)
from patchmatch.motion.kernels.candidates import (
    common_motion,
    gather_answers,
    offer_candidates,
    settle_candidates,
    take_rivals,
)
from patchmatch.motion.kernels.compiling import kernel, part_of
from patchmatch.motion.kernels.contrast import CELL
from patchmatch.motion.kernels.judge import hear_neighbours, weigh_candidates
from patchmatch.motion.kernels.noise import cell_statistics
from patchmatch.motion.kernels.registration import refine_windows
from patchmatch.motion.kernels.search import block_costs, deepest_minima
from patchmatch.motion.kernels.team import join
from patchmatch.motion.kernels.windows import cell_gradients, window_residuals


class Settings(NamedTuple):
    """Numbers that the steps are told, by the names that they have in ``patchmatch.nets``."""

    clip: Any
    credit: Any
    lengths: Any  #: (D,), added to the costs of the search
    nearby: Any
    few: Any
    same: Any
    exact: Any
    no_texture: Any
    tie: Any
    reaches: Any  #: (M,)
    near: Any
    smallest_trust: Any
    rival: Any
    unlikely: Any
    registration: Any  #: (6,), the limits of ``refine_windows``
    rounds: Any  #: of refinement, by level
    stands_for: Any
    weiszfeld: Any
    softening: Any
    apart: Any
    price: Any
    never: Any
    rough: Any
    tied: Any
    drawn: Any  #: rounds in which answers are drawn together


class Network(NamedTuple):
    """Weights; a layer of I inputs and O outputs is its weights (O, I) and its biases (O,)."""

    judge: Any  #: ``nets.judge.JudgeNetwork``
    trust: Any  #: two layers, of each cell
    ballot: Any  #: formula (4,) and two layers, of each cell
    smoother: Any  #: formula (4,) and two layers, of each block


class LevelWork(NamedTuple):
    """What is found out on a level; all of it is written."""

    tensor: Any  #: (N, 16, 3), means of the gradients' products
    loudness: Any  #: (N, 16), variance of the noise
    texture: Any  #: (N, 16), logarithm of the root mean square gradient
    noise: Any  #: (N, 16), standard deviation
    quiet: Any  #: (N, 16), what noise leaves between four pixels
    noisy: Any  #: (N, 16), at whole pixels
    common: Any  #: (B, 2)
    offered: Any  #: (N, K, 2)
    fresh: Any  #: (N, K) bool
    residual: Any  #: (N, K, 16)
    plain: Any  #: (N, K)
    logits: Any  #: (rounds + 1, N, K), given as what is not judged has
    belief: Any  #: (rounds, N, K), at least one
    trust: Any  #: (N,)
    told: Any  #: (tiles, units, TILE K)
    refined: Any  #: (B, R, C, 2, 2), the likeliest and its rival


class AnswerWork(NamedTuple):
    """What is found out at last; all of it is written."""

    answers: Any  #: (rounds + 1, B, R, C, 2), what is settled on, and after each round of votes
    alone: Any  #: (N, 2)
    offered: Any  #: (N, 10, 2)
    fresh: Any  #: (N, 10) bool
    asked: Any  #: (N, 10) bool
    residual: Any  #: (N, 10, 16)
    share: Any  #: (N, 10)
    logits: Any  #: (N, 10)
    left: Any  #: (N, 1, 16), the residual of the answer
    evidence: Any  #: (N, 13)
    held: Any  #: (N, 3)
    firm: Any  #: (N, 2)
    voice: Any  #: (N,)
    found: Any  #: (B, R, C, 2)


@kernel
def compare_frames(
    counters, earlier, later, padded, grid, block, windows, settings, network, cost, begin, work,
    ending,
):  # fmt: skip
    """Find how far every block has moved.

    Args:
        counters: Of a team; all its threads call with the same arguments.
        earlier: The four levels of the earlier frames, ``nets.levels.Level``.
        later: Those of the later frames.
        padded: (B, H, W), the last image of these, its border repeated so far as is sought.
        grid: (2,) int64, rows and columns of the blocks of a frame.
        block: Side of a block in pixels.
        windows: Of each level but the last the side of its windows, and what
            each of their cells counts, (16,).
        settings: ``Settings``.
        network: ``Network``.
        cost: (B, R, C, D), written: as ``block_costs`` does.
        begin: (B, R, C, _, 2), written: what is found on the last level.
        work: Of each level but the last ``LevelWork``.
        ending: ``AnswerWork``.
    """
    team, frames, coarsest = join(counters), len(cost), earlier[3]
    block_costs(
        team, coarsest.even, padded, block >> 3, settings.clip, coarsest.noise, CELL,
        settings.credit, cost,
    )  # fmt: skip
    count = frames * grid[0] * grid[1]
    best = begin.reshape(count, begin.shape[3], 2)
    deepest_minima(team, cost, settings.lengths, best)
    shape = grid, block
    both = earlier[2], later[2]
    _descend(team, 2, both, begin, shape, windows[2], settings, network, work[2])
    both, above = (earlier[1], later[1]), work[2].refined
    _descend(team, 1, both, above, shape, windows[1], settings, network, work[1])
    both, above = (earlier[0], later[0]), work[1].refined
    _descend(team, 0, both, above, shape, windows[0], settings, network, work[0])
    _vote(team, both, shape, windows[0][0], settings, network, work[0], ending)
    _agree(team, both, shape, windows[0][0], settings, network, work[0], ending)


@part_of
def _descend(team, level, both, above, shape, window, settings, network, work):
    """Judge the candidates of the level above, and refine the likeliest one and its rival."""
    grid, block, (side, shares) = shape[0], shape[1] >> level, window
    image0, image1 = both[0].even, both[1].even
    count = len(work.tensor)
    common_motion(team, above, settings.nearby, settings.few, work.common)
    offer_candidates(
        team, above, work.common, level > 0, settings.same, settings.exact, work.offered, work.fresh
    )
    cell_gradients(team, image0, image1, grid, block, side, work.tensor)
    cell_statistics(
        team, work.tensor, both[0].noise, both[1].noise, grid, image0.shape[1:], block, side,
        settings.no_texture, settings.clip, work.loudness, work.texture, work.noise, work.quiet,
        work.noisy,
    )  # fmt: skip
    window_residuals(
        team, image0, image1, grid, block, side, work.offered, work.fresh, work.quiet, work.noisy,
        settings.clip, work.residual,
    )  # fmt: skip
    weigh_candidates(
        team, work.offered, work.fresh, work.residual, work.texture, work.noise, shares,
        work.common, float32(level), network.judge, settings.tie, work.plain, work.logits,
        work.trust, work.told, work.belief,
    )  # fmt: skip
    for turn in range(1, len(work.logits)):
        hear_neighbours(
            team, turn, work.offered, work.fresh, work.trust, grid, settings.reaches, settings.near,
            settings.smallest_trust, work.plain, network.judge, work.told, work.belief, work.logits,
        )  # fmt: skip
    refined = work.refined.reshape(count, 2, 2)
    take_rivals(
        team, work.offered, work.logits[len(work.logits) - 1], settings.rival, settings.unlikely,
        refined,
    )  # fmt: skip
    refine_windows(
        team, image0, image1, grid, block, side, work.tensor, work.loudness, work.texture,
        network.trust[0], network.trust[1], float32(level), settings.registration,
        settings.rounds[level], refined,
    )  # fmt: skip


@part_of
def _vote(team, both, shape, side, settings, network, known, work):
    """Settle on an answer, and let the cells vote."""
    grid, block = shape
    count = len(known.tensor)
    refined = known.refined.reshape(count, 2, 2)
    settle_candidates(
        team, known.offered, known.logits[len(known.logits) - 1], refined, settings.stands_for,
        settings.weiszfeld, settings.softening, work.answers[0].reshape(count, 2),
    )  # fmt: skip
    formula, first, last = network.ballot
    for turn in range(1, len(work.answers)):
        gather_answers(
            team, work.answers[turn - 1], settings.apart, refined, work.alone, work.offered,
            work.fresh, work.asked,
        )  # fmt: skip
        window_residuals(
            team, both[0].even, both[1].even, grid, block, side, work.offered, work.asked,
            known.quiet, known.noisy, settings.clip, work.residual,
        )  # fmt: skip
        cell_ballot(
            team, work.offered, work.fresh, work.alone, work.residual, known.texture, known.noise,
            formula, settings.price, settings.never, first, last, work.share, work.logits,
        )  # fmt: skip
        settle_candidates(
            team, work.offered, work.logits, refined[:0], settings.stands_for, settings.weiszfeld,
            settings.softening, work.answers[turn].reshape(count, 2),
        )  # fmt: skip


@part_of
def _agree(team, both, shape, side, settings, network, known, work):
    """Tell right answers from wrong ones, and draw those of neighbours together."""
    grid, block = shape
    count, (height, width) = len(known.tensor), both[0].even.shape[1:]
    answer = work.answers[len(work.answers) - 1]
    one, every = answer.reshape(count, 1, 2), np.ones((count, 1), np.bool_)
    window_residuals(
        team, both[0].even, both[1].even, grid, block, side, one, every, known.quiet, known.noisy,
        settings.clip, work.left,
    )  # fmt: skip
    answer_evidence(
        team, work.left, known.residual, known.texture, known.noise, work.offered, work.share,
        answer, work.evidence,
    )  # fmt: skip
    place_evidence(team, answer, block, height, width, work.evidence)
    formula, first, last = network.smoother
    weigh_answers(
        team, known.tensor, work.evidence, formula, settings.rough, first, last, work.held,
        work.firm, work.voice,
    )  # fmt: skip
    draw_together(
        team, answer, work.held, work.firm, work.voice, formula, settings.tied, settings.drawn,
        work.found,
    )  # fmt: skip
