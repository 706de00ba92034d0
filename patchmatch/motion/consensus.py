"""Agreement of neighbouring blocks: votes of subwindows, then a regulariser."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.matching import MatchingBase
from patchmatch.motion.scoring import zero_linear

SHARPNESS, OWN_BONUS = 40.0, 0.5  # factor of the residual, and bonus of the own displacement
NOISE_DAMPING = 5.0  # the sharpness is divided by 1 + this times the noise
RUNNER_UP_PENALTY = 2.0  # of a runner-up that no neighbour has found
PAIRWISE_WEIGHT, PAIRWISE_SCALE = 1.0, 0.2  # scale: pixels at which a neighbour counts a quarter
RESIDUAL_FLOOR = 0.05  # local standard deviations that no displacement explains
SMALLEST_SHARE = 1e-9  # added to shares of votes before the logarithm


class SubwindowVoting(nn.Module):
    """The displacement of most of a block, by votes of its subwindows.

    In a block on a motion boundary two displacements are right, and the score of the whole block
    prefers the part with more texture. Each subwindow votes between the displacement of the block,
    those of its eight neighbours and the runner-up. What the network adds to a formula is zero
    before training.

    Args:
        hidden: Channels of the hidden layer.
        iterations: Number of votes; the result of one is a candidate of the next.
    """

    def __init__(self, hidden: int = 8, iterations: int = 2) -> None:
        super().__init__()
        self.iterations = iterations
        formula = [SHARPNESS, OWN_BONUS, NOISE_DAMPING, RUNNER_UP_PENALTY]
        self.formula = nn.Parameter(torch.tensor(formula).log())  #: logarithms of these four
        self.layers = nn.Sequential(
            nn.Linear(6, hidden), nn.ReLU(inplace=True), zero_linear(hidden)
        )

    def forward(
        self,
        ops: Any,
        matching: MatchingBase,
        displacement: Float[Tensor, "B R C 2"],
        runner_up: Float[Tensor, "B R C 2"],
    ) -> tuple[Float[Tensor, "B R C 2"], Float[Tensor, "B R C 10 2"], Float[Tensor, "B R C 10"]]:
        """Return displacement, candidates and shares of the votes.

        Args:
            ops: The module of primitives, ``tensors`` or ``compiled``.
            matching: Windows of both frames at full resolution.
            displacement: Displacement of each block in pixels.
            runner_up: The second best displacement.
        """
        for _ in range(self.iterations - 1):
            displacement, _, _ = self._vote(ops, matching, displacement, runner_up)
        return self._vote(ops, matching, displacement, runner_up)

    def _vote(
        self, ops: Any, matching: MatchingBase, displacement: Tensor, runner_up: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        candidates, unique, unsupported = ops.voting_candidates(
            displacement.detach(), runner_up.detach()
        )
        compared = unique & (unique.sum(dim=-1, keepdim=True) > 1)
        subwindows = matching.residual(candidates, compared), matching.texture, matching.noise
        share = ops.vote_shares(
            candidates, unique, unsupported, *subwindows, self.formula, self.layers
        )
        found = ops.median_displacement(candidates, (share + SMALLEST_SHARE).log())
        return found, candidates, share


class Regulariser(nn.Module):
    """Displacements of least energy: a data term, and agreement with the neighbours.

    The data term is the structure tensor divided by the squared residual. First-order terms draw a
    displacement to those of the four neighbours, second-order terms to the means of two opposite
    neighbours, so that smoothly varying motion is kept. Both are robust (Geman and McClure), which
    preserves motion boundaries. A network of the evidence of a block gives factors of the data
    term and of both pairwise terms, and the confidence of the block; all are 1 before training.

    Args:
        hidden: Channels of the hidden layer.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        formula = [PAIRWISE_WEIGHT, PAIRWISE_WEIGHT, PAIRWISE_SCALE, PAIRWISE_SCALE]
        #: logarithms of the weights of first- and second-order terms, and of their scales
        self.formula = nn.Parameter(torch.tensor(formula).log())
        self.layers = nn.Sequential(
            nn.Linear(EVIDENCE, hidden), nn.ReLU(inplace=True), zero_linear(hidden, 4)
        )

    def forward(
        self,
        ops: Any,
        displacement: Float[Tensor, "B R C 2"],
        structure_tensor: Float[Tensor, "B R C 3"],
        evidence: Float[Tensor, "B R C 13"],
    ) -> Float[Tensor, "B R C 2"]:
        """Return smoothed displacements.

        Args:
            ops: The module of primitives, ``tensors`` or ``compiled``.
            displacement: Displacement of each block in pixels.
            structure_tensor: Means of the gradient products xx, xy and yy over its window.
            evidence: From ``Matching.evidence``.
        """
        first_weight, second_weight, first_scale, second_scale = self.formula.exp().unbind()
        factors = self.layers(evidence).clamp(-6, 6).exp()
        data, first_order, second_order, confidence = factors.unbind(dim=-1)
        residual = evidence[..., 0].clamp_min(0) + evidence[..., 4] + RESIDUAL_FLOOR
        return ops.regularise(
            displacement,
            structure_tensor * (data / residual.square()).unsqueeze(-1),
            torch.stack([first_order * first_weight, second_order * second_weight], dim=-1),
            confidence,
            torch.stack([first_scale, second_scale]),
        )
