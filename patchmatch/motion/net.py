"""Motion of any size, block by block: coarse to fine over a pyramid, judged by a small network."""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.motion.candidates import Offered, offer, with_rival
from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.consensus import Ballot, Smoother
from patchmatch.motion.features import Level, describe, search
from patchmatch.motion.kernels import compiled_for, threads_for
from patchmatch.motion.refine import Matching, settle
from patchmatch.motion.scoring import CellTrust, Judge, PlainJudge, PlainTrust
from patchmatch.ops.blocks import block_counts

LEVELS = 4
COARSEST = LEVELS - 1
FIRST = 4  # candidates of the exhaustive search
MOST = 10  # candidates that are judged; in training all that differ
STEPS = (2, 2, 2)  # of refinement, by level


class Judged(NamedTuple):
    """What a judge said of the candidates of a level: training supervises it."""

    level: int
    offered: Offered  #: the candidates
    at_rest: Tensor  #: (B, R, C, 16), what is left in each cell without motion
    rounds: list[Tensor]  #: logits (B, R, C, K) after each round of messages


class Refined(NamedTuple):
    """Displacements after a step of refinement: training supervises them."""

    level: int
    displacement: Tensor  #: (B, R, C, K, 2) pixels of the level; the first one is supervised


class Motion(NamedTuple):
    """The motion of every block.

    Attributes:
        displacement: (B, R, C, 2), dx and dy in pixels from frame 0 to frame 1.
        doubts: (B, R, C, 2) logits: that the displacement is right within half a pixel, and that
            most of the block can be seen in frame 1.
        trace: The decisions on the way, for training; of refinements kernels tell the last ones.
    """

    displacement: Tensor
    doubts: Tensor
    trace: list[Judged | Refined]


class MotionNet(nn.Module):
    """Measure how far each block has moved.

    The frames become pyramids of even contrast. On the smallest level every block is sought
    exhaustively. On each finer one the best are offered to the neighbours too (the propagation of
    PatchMatch, Barnes et al. 2009), those that differ are judged, and the likeliest and its rival
    are refined between pixels (Lucas and Kanade, with learned trust in each cell). The answer on
    the frame itself is the geometric median of what is still possible; then the cells of each block
    vote among it, the rival and the answers around, and neighbours draw each other's together as
    far as the pictures leave them open. The same weights serve every level.

    Args:
        hidden: Channels of the hidden layers.
        learned: False puts formulas by hand in the place of the network: its twin, to compare. Its
            cells vote and its answers are drawn together by the formulas that learning begins with.
    """

    def __init__(self, hidden: int = 16, learned: bool = True) -> None:
        super().__init__()
        self.judge = Judge(hidden) if learned else PlainJudge()
        self.trust = CellTrust(hidden) if learned else PlainTrust()
        self.ballot = Ballot(max(1, hidden // 2)).requires_grad_(learned)
        self.smoother = Smoother(hidden).requires_grad_(learned)
        self.doubt = nn.Sequential(nn.Linear(EVIDENCE, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def threads(self) -> AbstractContextManager[None]:
        """Return a context in which torch uses as many threads as are of use to this network."""
        return threads_for(next(self.parameters()))

    def describe(self, frames: Float[Tensor, "B 1 H W"]) -> list[Level]:
        """Return what ``compare`` needs to know of frames on each level, computed once a frame."""
        with self.threads():
            if compiled_for(frames):
                from patchmatch.motion import compiled as motion_kernels

                return motion_kernels.describe(frames, LEVELS)
            return describe(frames, LEVELS)

    def compare(
        self,
        described0: list[Level],
        described1: list[Level],
        block: int = 32,
        radius: int = 6,
    ) -> Motion:
        """Return the motion between frames and their successors.

        Args:
            described0: The earlier frames, from ``describe``.
            described1: The later frames.
            block: Side of a block in pixels, a multiple of 8 and at least 16.
            radius: Reach of the exhaustive search, in pixels of the smallest level: eight times
                as many of the frame.

        Raises:
            ValueError: If the block has another size, or not one fits into the frame.
        """
        if block % 2**COARSEST or block < 2 * 2**COARSEST:
            raise ValueError(f"block must be a multiple of 8 and at least 16 pixels, got {block}")
        batch, height, width = described0[0].even.shape
        shape = torch.Size([batch, *block_counts(height, width, block, block)])
        with self.threads():
            if compiled_for(*(level.even for level in (*described0, *described1))):
                from patchmatch.motion import compiled as motion_kernels

                return motion_kernels.compare(self, described0, described1, shape, block, radius)
            return self._compare(described0, described1, shape, block, radius)

    def _compare(
        self,
        described0: list[Level],
        described1: list[Level],
        shape: torch.Size,
        block: int,
        radius: int,
    ) -> Motion:
        candidates = search(
            described0[COARSEST], described1[COARSEST], shape, block >> COARSEST, radius, FIRST
        )
        trace: list[Judged | Refined] = []
        for level in range(COARSEST - 1, 0, -1):
            matching = Matching(described0[level], described1[level], shape, block >> level)
            _, candidates = self._descend(matching, candidates, level, trace)
            candidates = candidates.detach()
        matching = Matching(described0[0], described1[0], shape, block)
        judged, candidates = self._descend(matching, candidates, 0, trace)
        best, rival = candidates[..., :1, :], candidates[..., 1, :]
        displacement = settle(judged.offered.candidates, judged.rounds[-1], best)
        trace.append(Refined(0, displacement.unsqueeze(-2)))
        displacement, around, votes = self.ballot(matching, displacement, rival)
        trace.append(Refined(0, displacement.unsqueeze(-2)))
        evidence = matching.evidence(displacement, judged.at_rest, around, votes)
        tensor = matching.tensor.mean(dim=-2).unflatten(0, shape)
        displacement = self.smoother(displacement, tensor, evidence)
        return Motion(displacement, self.doubt(evidence), trace)

    def _descend(
        self,
        matching: Matching,
        candidates: Float[Tensor, "B R C _ 2"],
        level: int,
        trace: list[Judged | Refined],
    ) -> tuple[Judged, Float[Tensor, "B R C 2 2"]]:
        """Judge the candidates of the level above on this one; refine the likeliest two."""
        offered = offer(2 * candidates, level, None if self.training else MOST)
        residual = matching.residual(offered.candidates)
        cells = matching.texture, matching.noise, matching.shares
        rounds = self.judge(offered, residual, *cells, level)
        judged = Judged(level, offered, residual[..., 0, :], rounds)
        trace.append(judged)
        best = with_rival(offered.candidates, rounds[-1])
        refined = matching.refine(best, self.trust, level, STEPS[level])
        trace += [Refined(level, displacement) for displacement in refined]
        return judged, refined[-1]

    def forward(
        self, frames: Float[Tensor, "B 1 2 H W"], block: int = 32, radius: int = 6
    ) -> Motion:
        """Return the motion of frame pairs; time is the third axis."""
        earlier, later = (self.describe(frames[:, :, time]) for time in (0, 1))
        return self.compare(earlier, later, block, radius)
