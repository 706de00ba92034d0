"""Block motion of any size: coarse-to-fine matching by a small network."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.core.process import in_threads, threads_for_compiled_loops
from patchmatch.motion import tensors
from patchmatch.motion.coarse_to_fine import (
    COARSEST,
    FIRST,
    LEVELS,
    MIN_RADIUS,
    MOST,
    STEPS,
    Judged,
    Motion,
    Refined,
    default_radius,
)
from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.consensus import Ballot, Smoother
from patchmatch.motion.features import Level
from patchmatch.motion.kernels import compiled_for
from patchmatch.motion.refine import MatchingBase
from patchmatch.motion.scoring import CellTrust, Judge, PlainJudge, PlainTrust
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
        self.judge = Judge(hidden) if learned else PlainJudge()
        self.trust = CellTrust(hidden) if learned else PlainTrust()
        self.ballot = Ballot(max(1, hidden // 2)).requires_grad_(learned)
        self.smoother = Smoother(hidden).requires_grad_(learned)
        self.doubt = nn.Sequential(nn.Linear(EVIDENCE, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def threads(self) -> AbstractContextManager[None]:
        """Return a context that gives the threads of torch to the compiled loops, if they run."""
        compiled = compiled_for(next(self.parameters()))
        return threads_for_compiled_loops() if compiled else nullcontext()

    def describe(self, frames: Float[Tensor, "B 1 H W"]) -> list[Level]:
        """Return the features of frames on every level, the finest first, for ``compare``."""
        if compiled_for(frames):
            from patchmatch.motion import compiled  # importing numba takes half a second

            with threads_for_compiled_loops():
                return compiled.describe(frames, LEVELS)
        return tensors.describe(frames, LEVELS)

    def compare(
        self,
        described0: list[Level],
        described1: list[Level],
        block: int = 32,
        radius: int | None = MIN_RADIUS,
        *,
        trace: bool = False,
        edges: bool = False,
    ) -> Motion:
        """Return the motion between frames and their successors.

        Args:
            described0: The earlier frames, from ``describe``.
            described1: The later frames.
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
        batch, height, width = described0[0].even.shape
        radius = default_radius(width) if radius is None else radius
        grid = block_counts(height, width, block, block, edges=edges)
        images = (level.even for level in (*described0, *described1))
        if trace or not compiled_for(*images):
            return self._compare(tensors, described0, described1, grid, block, radius, trace)
        from patchmatch.motion import compiled  # importing numba takes half a second

        def compare_pair(pair: slice) -> Motion:
            earlier, later = ([level.frames(pair) for level in x] for x in (described0, described1))
            return self._compare(compiled, earlier, later, grid, block, radius, False)

        with threads_for_compiled_loops():
            found = in_threads(compare_pair, [slice(b, b + 1) for b in range(batch)])
        displacement = torch.cat([motion.displacement for motion in found])
        return Motion(displacement, torch.cat([motion.confidence_logits for motion in found]))

    def _compare(
        self,
        ops: Any,
        described0: list[Level],
        described1: list[Level],
        grid: tuple[int, int],
        block: int,
        radius: int,
        with_trace: bool,
    ) -> Motion:
        """Compare frames by the primitives of ``tensors`` or ``compiled``."""
        shape = torch.Size([len(described0[0].even), *grid])
        candidates = ops.search(
            described0[COARSEST], described1[COARSEST], shape, block >> COARSEST, radius, FIRST
        )
        trace: list[Judged | Refined] = []
        for level in range(COARSEST - 1, 0, -1):
            matching = ops.Matching(described0[level], described1[level], shape, block >> level)
            _, candidates = self._descend(ops, matching, candidates, level, trace)
            candidates = candidates.detach()
        matching = ops.Matching(described0[0], described1[0], shape, block)
        judged, candidates = self._descend(ops, matching, candidates, 0, trace)
        best, rival = candidates[..., :1, :], candidates[..., 1, :]
        displacement = ops.settle(judged.offered.candidates, judged.rounds[-1], best)
        trace.append(Refined(level=0, displacement=displacement.unsqueeze(-2)))
        displacement, around, votes = self.ballot(ops, matching, displacement, rival)
        trace.append(Refined(level=0, displacement=displacement.unsqueeze(-2)))
        evidence = matching.evidence(displacement, judged.at_rest, around, votes)
        tensor = matching.tensor.mean(dim=-2).unflatten(0, shape)
        return Motion(
            displacement=self.smoother(ops, displacement, tensor, evidence),
            confidence_logits=self.doubt(evidence),
            trace=trace if with_trace else None,
        )

    def _descend(
        self,
        ops: Any,
        matching: MatchingBase,
        candidates: Float[Tensor, "B R C _ 2"],
        level: int,
        trace: list[Judged | Refined],
    ) -> tuple[Judged, Float[Tensor, "B R C 2 2"]]:
        """Score the candidates of the coarser level on this one and refine the best two."""
        offered = ops.offer(2 * candidates, level, None if self.training else MOST)
        residual = matching.residual(offered.candidates, offered.fresh)
        rounds = ops.score(self.judge, offered, residual, matching, level)
        judged = Judged(level=level, offered=offered, at_rest=residual[..., 0, :], rounds=rounds)
        trace.append(judged)
        best = ops.with_rival(offered.candidates, rounds[-1])
        refined = matching.refine(best, self.trust, level, STEPS[level])
        trace += [Refined(level=level, displacement=displacement) for displacement in refined]
        return judged, refined[-1]

    def forward(
        self,
        frames: Float[Tensor, "B 1 2 H W"],
        block: int = 32,
        radius: int | None = MIN_RADIUS,
        *,
        trace: bool = False,
    ) -> Motion:
        """Return the motion of frame pairs; the arguments are those of ``compare``."""
        earlier, later = (self.describe(frames[:, :, time]) for time in (0, 1))
        return self.compare(earlier, later, block, radius, trace=trace)
