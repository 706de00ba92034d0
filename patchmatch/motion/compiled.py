"""The primitives of ``MotionNet`` in compiled loops, for the CPU without gradients.

Each replaces the tensor operations of the same name in ``patchmatch.motion.tensors``.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.process import compiled_threads, in_threads
from patchmatch.motion import candidates as candidate_ops
from patchmatch.motion import consensus_steps, noise
from patchmatch.motion import matching as matching_ops
from patchmatch.motion.candidates import Proposals
from patchmatch.motion.features import (
    CLIP,
    NOISE_TILE,
    SOFTENING,
    WINDOW,
    ZERO_MOTION_CREDIT,
    Features,
    PyramidLevel,
)
from patchmatch.motion.kernels import candidates as candidate_kernels
from patchmatch.motion.kernels import consensus as consensus_kernels
from patchmatch.motion.kernels import scoring as scoring_kernels
from patchmatch.motion.kernels.compilation import Argument, Kernel
from patchmatch.motion.kernels.cropping import SUBWINDOWS
from patchmatch.motion.kernels.features import extract_frame_features
from patchmatch.motion.kernels.noise import window_statistics
from patchmatch.motion.kernels.registration import refine_windows
from patchmatch.motion.kernels.search import block_costs, deepest_minima
from patchmatch.motion.kernels.windows import structure_tensors, window_residuals
from patchmatch.motion.lucas_kanade import DAMPING, FULL_SNR, MAX_STEP, MIN_SNR
from patchmatch.motion.matching import SMALLEST_WINDOW, MatchingBase
from patchmatch.motion.scoring import (
    AGREEMENT,
    DUPLICATE_LOGIT,
    SCALES,
    ZERO_MOTION_PRIOR,
    linear_layers,
)
from patchmatch.motion.scoring_steps import MIN_TRUST
from patchmatch.motion.windows import subwindow_weights

SUBWINDOW_COUNT = SUBWINDOWS**2
PART = 512  # work of a thread, at least: waking one takes 0.1 ms


def _in_parts(kernel: Kernel, count: int, work: int, *arguments: Argument) -> None:
    """Call a kernel in several threads, each with a part of its items.

    Args:
        kernel: Takes the first item and the one after the last, then the arguments.
        count: Number of items.
        work: Time of an item, in units of the residuals of a block.
        arguments: Arrays that are read or written, and numbers.
    """
    parts = max(1, min(compiled_threads(), count * work // PART))
    bounds = pairwise(count * i // parts for i in range(parts + 1))
    in_threads(lambda part: kernel(part, *arguments), list(bounds))


def extract_features(frames: Tensor, levels: int) -> Features:
    """Same as ``tensors.extract_features``, with frames distributed over threads."""
    count, _, height, width = frames.shape
    images, features = [frames[:, 0].contiguous()], []
    for level in range(levels):
        if level:
            height, width = -(-height // 2), -(-width // 2)
            images.append(frames.new_empty(count, height, width))
        noise_map = frames.new_empty(count, -(-height // NOISE_TILE), -(-width // NOISE_TILE))
        features.append(PyramidLevel(torch.empty_like(images[-1]), noise_map))
    noise_settings = (
        noise.tile_grid(*frames.shape[2:]),
        np.array([noise.DARK, noise.BRIGHT], np.float32),
        *(noise.FLAT_QUANTILE, noise.DEVIATION, noise.ROW_STEP, noise.LARGEST_STEP),
        noise.JPEG_FACTOR,
    )
    window = (0,) * WINDOW  # a length that is known at compile time
    given = tuple(images), window, SOFTENING, noise_settings, *zip(*features, strict=True)
    in_threads(lambda frame: extract_frame_features(frame, *given), range(count))
    return features


def search(
    features0: PyramidLevel,
    features1: PyramidLevel,
    shape: torch.Size,
    block: int,
    radius: int,
    count: int,
) -> Tensor:
    """Same as ``tensors.search``."""
    image0, noise_map = features0.normalized.contiguous(), features0.noise.contiguous()
    padded = F.pad(features1.normalized[:, None], (radius,) * 4, mode="replicate")[:, 0]
    cost = image0.new_empty(*shape, (2 * radius + 1) ** 2)
    rows = shape[0] * shape[1]
    given = image0, padded, block, CLIP, noise_map, NOISE_TILE, ZERO_MOTION_CREDIT, cost
    _in_parts(block_costs, rows, 4 * shape[2], *given)
    axis = np.arange(-radius, radius + 1)
    # Prefers the shortest displacement among equal costs.
    lengths = 1e-4 * np.hypot(axis[:, None], axis).ravel().astype(np.float32)
    best = image0.new_empty(shape.numel(), count, 2)
    _in_parts(deepest_minima, shape.numel(), 2, cost, lengths, best)
    return best.unflatten(0, shape)


def propose(candidates: Tensor, level: int, count: int | None = None) -> Proposals:
    """Same as ``tensors.propose``."""
    candidates = candidates.contiguous()
    shape, own = candidates.shape[:3], candidates.shape[3]
    dominant = candidates.new_empty(shape[0], 2)
    limits = candidate_ops.DOMINANT_DISTANCE, candidate_ops.MIN_DOMINANT_SHARE
    candidate_kernels.dominant_motion(candidates, *limits, dominant)
    proposed = own + (candidate_kernels.WITH_EIGHT if level else candidate_kernels.WITH_FOUR)
    count = proposed if count is None else min(count, proposed)
    found = candidates.new_empty(shape.numel(), count, 2)
    unique = torch.empty(shape.numel(), count, dtype=torch.bool)
    limits = candidate_ops.DUPLICATE_DISTANCE, candidate_ops.EXACT_DISTANCE
    candidate_kernels.propose_candidates(candidates, dominant, level > 0, *limits, found, unique)
    return Proposals(found.unflatten(0, shape), unique.unflatten(0, shape), dominant)


class Matching(MatchingBase):
    """Same as ``tensors.Matching``."""

    def __init__(
        self, level0: PyramidLevel, level1: PyramidLevel, shape: torch.Size, block: int
    ) -> None:
        self.shape, self.block, self.size = shape, block, level0.normalized.shape[-2:]
        side, blocks = max(block, SMALLEST_WINDOW), shape.numel()
        self.subwindow_weights = subwindow_weights(block, side, level0.normalized.device)
        images = level0.normalized.contiguous(), level1.normalized.contiguous()
        noise_maps = level0.noise.contiguous(), level1.noise.contiguous()
        grid = np.array(shape[1:])
        self.windows = *images, grid, block, side
        self.structure_tensor = torch.empty(blocks, SUBWINDOW_COUNT, 3)
        _in_parts(structure_tensors, blocks, 1, *self.windows, self.structure_tensor)
        self.noise_variance, texture, deviation, *self.noise_residual = torch.empty(
            5, blocks, SUBWINDOW_COUNT
        )
        window_statistics(
            self.structure_tensor, *noise_maps, grid, np.array(self.size), block, side,
            matching_ops.MIN_GRADIENT, CLIP, self.noise_variance, texture, deviation,
            *self.noise_residual,
        )  # fmt: skip
        self.texture, self.noise = texture.unflatten(0, shape), deviation.unflatten(0, shape)

    def residual(self, candidates: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the residuals of the candidates in the mask; others are undefined."""
        flat = candidates.flatten(0, 2).contiguous()
        mask = torch.ones(flat.shape[:2], dtype=torch.bool) if mask is None else mask.flatten(0, 2)
        residual = flat.new_zeros(*flat.shape[:2], SUBWINDOW_COUNT)
        given = flat, mask, *self.noise_residual, CLIP, residual
        _in_parts(window_residuals, len(flat), 1, *self.windows, *given)
        return residual.unflatten(0, self.shape)

    def refine(self, candidates: Tensor, weights: Any, level: int, steps: int) -> list[Tensor]:
        """Return the displacements after the last step of registration."""
        refined = candidates.flatten(0, 2).clone()
        limits = DAMPING, MAX_STEP, MIN_SNR, FULL_SNR, weights.scale**2, weights.least
        given = self.structure_tensor, self.noise_variance, self.texture.flatten(0, 2)
        settings = *weights.network(), float(level), limits, steps
        _in_parts(refine_windows, len(refined), 4, *self.windows, *given, *settings, refined)
        return [refined.unflatten(0, self.shape)]


def score(
    scorer: Any, proposals: Proposals, residual: Tensor, matching: MatchingBase, level: int
) -> list[Tensor]:
    """Return the last logits of ``tensors.score``."""
    shape, count = proposals.candidates.shape[:3], proposals.candidates.shape[3]
    blocks, tile = shape.numel(), scoring_kernels.TILE
    tiles = -(-blocks // tile)
    candidates, unique = proposals.candidates.flatten(0, 2), proposals.unique.flatten(0, 2)
    weights, iterations = scorer.network(), scorer.iterations
    formula = residual.new_empty(blocks, count)
    logits = residual.new_full((iterations + 1, blocks, count), DUPLICATE_LOGIT)
    belief = residual.new_empty(max(1, iterations), blocks, count)
    trust = residual.new_empty(blocks)
    hidden = residual.new_empty(tiles, len(weights.pairwise[0][1]), tile * count)
    subwindows = (x.flatten(0, 2) for x in (residual, matching.texture, matching.noise))
    given = candidates, unique, *subwindows, matching.subwindow_weights, proposals.dominant
    settings = float(level), weights, ZERO_MOTION_PRIOR
    written = formula, logits, trust, hidden, belief
    _in_parts(scoring_kernels.score_candidates, tiles, tile, *given, *settings, *written)
    scales, grid = np.array(SCALES, np.float32), np.array(shape[1:])
    for iteration in range(1, iterations + 1):
        given = iteration, candidates, unique, trust, grid, scales, AGREEMENT, MIN_TRUST
        scored = formula, weights, hidden, belief, logits
        _in_parts(scoring_kernels.pass_messages, tiles, tile, *given, *scored)
    return [logits[-1].unflatten(0, shape)]


def median_displacement(candidates: Tensor, logits: Tensor, best: Tensor | None = None) -> Tensor:
    """Same as ``tensors.median_displacement``."""
    shape = candidates.shape[:3]
    points, logits = candidates.flatten(0, 2).contiguous(), logits.flatten(0, 2).contiguous()
    best = points[:0] if best is None else best.flatten(0, 2).contiguous()
    median = points.new_empty(len(points), 2)
    settings = matching_ops.MERGE_DISTANCE, matching_ops.MEDIAN_STEPS, matching_ops.SOFTENING
    candidate_kernels.geometric_medians(points, logits, best, *settings, median)
    return median.unflatten(0, shape)


def voting_candidates(displacement: Tensor, runner_up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Same as ``tensors.voting_candidates``."""
    shape, count = displacement.shape[:3], candidate_kernels.VOTING_CANDIDATES
    candidates = displacement.new_empty(shape.numel(), count, 2)
    unique = torch.empty(shape.numel(), count, dtype=torch.bool)
    unsupported = displacement.new_empty(shape.numel(), 2)
    given = displacement.contiguous(), candidate_ops.VOTING_DISTANCE
    second = runner_up.flatten(0, 2).contiguous()
    candidate_kernels.gather_candidates(*given, second, unsupported, candidates, unique)
    candidates, unique = candidates.unflatten(0, shape), unique.unflatten(0, shape)
    return candidates, unique, unsupported.unflatten(0, shape)


def vote_shares(
    candidates: Tensor,
    unique: Tensor,
    unsupported: Tensor,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """Same as ``tensors.vote_shares``."""
    given = candidates, unique, unsupported, residual, texture, noise
    flat = (values.flatten(0, 2) for values in given)
    share = candidates.new_empty(candidates.shape[:4])
    settings = formula, consensus_steps.LENGTH_PENALTY, *linear_layers(layers)
    consensus_kernels.count_votes(*flat, *settings, share.flatten(0, 2))
    return share


def regularise(
    displacement: Tensor,
    data_term: Tensor,
    pairwise_weight: Tensor,
    confidence: Tensor,
    scale: Tensor,
) -> Tensor:
    """Same as ``tensors.regularise``."""
    found = torch.empty_like(displacement, memory_format=torch.contiguous_format)
    terms = (x.flatten(0, 2).contiguous() for x in (data_term, pairwise_weight, confidence))
    settings = scale, consensus_steps.MIN_WEIGHT, consensus_steps.ITERATIONS
    consensus_kernels.regularise(displacement.contiguous(), *terms, *settings, found)
    return found
