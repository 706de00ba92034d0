"""Block motion of any size: coarse-to-fine matching by a small network."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.core.process import in_threads, threads_for_compiled_loops
from patchmatch.motion import tensors
from patchmatch.motion.candidates import top2
from patchmatch.motion.coarse_to_fine import (
    COARSEST,
    LEVELS,
    MAX_CANDIDATES,
    MIN_RADIUS,
    SEARCH_CANDIDATES,
    STEPS,
    Motion,
    Refined,
    Scored,
    default_radius,
)
from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.consensus import Regulariser, SubwindowVoting
from patchmatch.motion.features import Features
from patchmatch.motion.kernels import compiled_for
from patchmatch.motion.matching import MatchingBase
from patchmatch.motion.scoring import (
    GemanMcClureWeights,
    HandcraftedScorer,
    HypothesisScorer,
    RobustWeights,
)
from patchmatch.ops.blocks import block_counts


class MotionNet(nn.Module):
    """Network that measures the displacement of every block between two frames.

    Each frame becomes a pyramid of images with local contrast normalisation. The coarsest level is
    searched exhaustively. On each finer level a block considers its own candidates and the best
    ones of its neighbours (propagation of PatchMatch, Barnes et al. 2009). A hypothesis scorer
    ranks them, and Lucas-Kanade with learned weights refines the best and the runner-up to
    subpixel precision. At full resolution the estimate is the geometric median of the candidates.
    The subwindows of a block then vote between this estimate, the runner-up and the estimates of
    neighbouring blocks, and a regulariser smooths the result where the images leave it ambiguous.
    All levels share their weights.

    Args:
        hidden: Channels of the hidden layers.
        learned: Whether the scorer and the Lucas-Kanade weights are learned. False uses a
            hand-crafted baseline; voting and regulariser then keep their initial formulas.
    """

    def __init__(self, hidden: int = 16, learned: bool = True) -> None:
        super().__init__()
        self.scorer = HypothesisScorer(hidden) if learned else HandcraftedScorer()
        self.robust_weights = RobustWeights(hidden) if learned else GemanMcClureWeights()
        self.voting = SubwindowVoting(max(1, hidden // 2)).requires_grad_(learned)
        self.regulariser = Regulariser(hidden).requires_grad_(learned)
        self.confidence_head = nn.Sequential(
            nn.Linear(EVIDENCE, hidden), nn.ReLU(), nn.Linear(hidden, 2)
        )

    def threads(self) -> AbstractContextManager[None]:
        """Return a context that gives the threads of torch to the compiled loops, if they run."""
        compiled = compiled_for(next(self.parameters()))
        return threads_for_compiled_loops() if compiled else nullcontext()

    def extract_features(self, frames: Float[Tensor, "B 1 H W"]) -> Features:
        """Return the features of frames on every level, the finest first, for ``match``."""
        if compiled_for(frames):
            from patchmatch.motion import compiled  # importing numba takes half a second

            with threads_for_compiled_loops():
                return compiled.extract_features(frames, LEVELS)
        return tensors.extract_features(frames, LEVELS)

    def match(
        self,
        features0: Features,
        features1: Features,
        block: int = 32,
        radius: int | None = MIN_RADIUS,
        *,
        trace: bool = False,
        edges: bool = False,
    ) -> Motion:
        """Return the motion between frames and their successors.

        Args:
            features0: The earlier frames, from ``extract_features``.
            features1: The later frames.
            block: Side of a block in pixels, a multiple of 8 and at least 16.
            radius: Radius of the exhaustive search in pixels of the coarsest level, each of which
                spans eight pixels of the frame; None for ``default_radius``.
            trace: Whether to record the intermediate decisions, which the loss needs. The
                compiled loops do not record them and are not used.
            edges: Whether blocks cover the whole frame: where the last whole block ends before the
                border, one more lies at the border and overlaps it, as in ``block_starts``.

        Raises:
            ValueError: If the block size is not allowed or larger than the frame.
        """
        if block % 2**COARSEST or block < 2 * 2**COARSEST:
            raise ValueError(f"block must be a multiple of 8 and at least 16 pixels, got {block}")
        batch, height, width = features0[0].normalized.shape
        radius = default_radius(width) if radius is None else radius
        grid = block_counts(height, width, block, block, edges=edges)
        images = (level.normalized for level in (*features0, *features1))
        if trace or not compiled_for(*images):
            return self._match(tensors, features0, features1, grid, block, radius, trace)
        from patchmatch.motion import compiled  # importing numba takes half a second

        def match_pair(pair: slice) -> Motion:
            earlier, later = ([level.frames(pair) for level in x] for x in (features0, features1))
            return self._match(compiled, earlier, later, grid, block, radius, False)

        with threads_for_compiled_loops():
            found = in_threads(match_pair, [slice(b, b + 1) for b in range(batch)])
        displacement = torch.cat([motion.displacement for motion in found])
        return Motion(displacement, torch.cat([motion.confidence_logits for motion in found]))

    def _match(
        self,
        ops: Any,
        features0: Features,
        features1: Features,
        grid: tuple[int, int],
        block: int,
        radius: int,
        with_trace: bool,
    ) -> Motion:
        """Match frames by the primitives of a module, ``tensors`` or ``compiled``."""
        shape = torch.Size([len(features0[0].normalized), *grid])
        coarsest = features0[COARSEST], features1[COARSEST]
        candidates = ops.search(*coarsest, shape, block >> COARSEST, radius, SEARCH_CANDIDATES)
        trace: list[Scored | Refined] = []
        for level in range(COARSEST - 1, 0, -1):
            matching = ops.Matching(features0[level], features1[level], shape, block >> level)
            _, candidates = self._match_level(ops, matching, candidates, level, trace)
            candidates = candidates.detach()
        matching = ops.Matching(features0[0], features1[0], shape, block)
        scored, candidates = self._match_level(ops, matching, candidates, 0, trace)
        best, runner_up = candidates[..., :1, :], candidates[..., 1, :]
        displacement = ops.median_displacement(scored.proposals.candidates, scored.logits[-1], best)
        trace.append(Refined(level=0, displacement=displacement.unsqueeze(-2)))
        displacement, voted, shares = self.voting(ops, matching, displacement, runner_up)
        trace.append(Refined(level=0, displacement=displacement.unsqueeze(-2)))
        evidence = matching.evidence(displacement, scored.zero_residual, voted, shares)
        structure_tensor = matching.structure_tensor.mean(dim=-2).unflatten(0, shape)
        return Motion(
            displacement=self.regulariser(ops, displacement, structure_tensor, evidence),
            confidence_logits=self.confidence_head(evidence),
            trace=trace if with_trace else None,
        )

    def _match_level(
        self,
        ops: Any,
        matching: MatchingBase,
        candidates: Float[Tensor, "B R C _ 2"],
        level: int,
        trace: list[Scored | Refined],
    ) -> tuple[Scored, Float[Tensor, "B R C 2 2"]]:
        """Score the candidates of the coarser level on this one and refine the best two."""
        proposals = ops.propose(2 * candidates, level, None if self.training else MAX_CANDIDATES)
        residual = matching.residual(proposals.candidates, proposals.unique)
        logits = ops.score(self.scorer, proposals, residual, matching, level)
        zero_residual = residual[..., 0, :]  # the first candidate is zero motion
        scored = Scored(level, proposals, zero_residual, logits)
        trace.append(scored)
        best = top2(proposals.candidates, logits[-1])
        refined = matching.refine(best, self.robust_weights, level, STEPS[level])
        trace += [Refined(level=level, displacement=displacement) for displacement in refined]
        return scored, refined[-1]

    def forward(
        self,
        frames: Float[Tensor, "B 1 2 H W"],
        block: int = 32,
        radius: int | None = MIN_RADIUS,
        *,
        trace: bool = False,
    ) -> Motion:
        """Return the motion of frame pairs; the arguments are those of ``match``."""
        earlier, later = (self.extract_features(frames[:, :, time]) for time in (0, 1))
        return self.match(earlier, later, block, radius, trace=trace)
