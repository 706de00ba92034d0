"""Agreement of neighbouring blocks: votes of subwindows, then smoothing."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.motion.confidence import EVIDENCE
from patchmatch.motion.refine import MatchingBase
from patchmatch.motion.scoring import silent

SHARPNESS, OWN = 40.0, 0.5  # of a difference, and what speaks for a block's own answer
DULL = 5.0  # by how much noise dulls the sharpness
BEHIND = 2.0  # what speaks against a rival, which nobody around has found
FIRM, REACH = 1.0, 0.2  # of a neighbour, and pixels at which it counts a quarter
ROUGH = 0.05  # local standard deviations that no displacement explains
NEVER = 1e-9  # added to shares before the logarithm


class Ballot(nn.Module):
    """The motion of most of a block, as its cells vote among its own answers and its neighbours'.

    Where a block lies across an outline two motions are right, and a judge of whole blocks follows
    the one that has more texture, or the neighbours. Each cell tells for itself which one it
    follows. What is learned
    is added to a formula, and is nothing at first.

    Args:
        hidden: Channels of the hidden layer.
        rounds: Of votes; what wins one is among the answers in the next.
    """

    def __init__(self, hidden: int = 8, rounds: int = 2) -> None:
        super().__init__()
        self.rounds = rounds
        #: logarithms of the sharpness, the bonus of the own answer, the dullness, and of what
        #: speaks against a rival
        self.formula = nn.Parameter(torch.tensor([SHARPNESS, OWN, DULL, BEHIND]).log())
        self.layers = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(inplace=True), silent(hidden))

    def forward(
        self,
        ops: Any,
        matching: MatchingBase,
        answer: Float[Tensor, "B R C 2"],
        rival: Float[Tensor, "B R C 2"],
    ) -> tuple[Float[Tensor, "B R C 2"], Float[Tensor, "B R C 10 2"], Float[Tensor, "B R C 10"]]:
        """Return the answer of most cells, what they chose among, and the shares of the votes.

        Args:
            ops: The module of primitives, ``tensors`` or ``compiled``.
            matching: The frames themselves, window by window.
            answer: What each block found by itself, in pixels.
            rival: What else it may be.
        """
        for _ in range(self.rounds - 1):
            answer, _, _ = self._vote(ops, matching, answer, rival)
        return self._vote(ops, matching, answer, rival)

    def _vote(
        self, ops: Any, matching: MatchingBase, answer: Tensor, rival: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        offered, fresh, alone = ops.answers_around(answer.detach(), rival.detach())
        several = fresh & (fresh.sum(dim=-1, keepdim=True) > 1)
        cells = matching.residual(offered, several), matching.texture, matching.noise
        share = ops.ballot(offered, fresh, alone, *cells, self.formula, self.layers)
        return ops.settle(offered, (share + NEVER).log()), offered, share


class Smoother(nn.Module):
    """Displacements of least energy: near what was seen, near what those around make of it.

    What was seen holds an answer by the gradients in its window, in units of what is left over.
    Neighbours draw it to themselves, and opposite ones to what lies between them, which is right
    where motion changes evenly; both the less the farther off they are (Geman and McClure), so that
    what has texture is not drawn across outlines. A network says how firmly a block is held and
    drawn, and how much it has to say to others; at first nothing but the formula.

    Args:
        hidden: Channels of the hidden layer.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        #: logarithms of the firmness of neighbours and of what lies between, and of their reaches
        self.formula = nn.Parameter(torch.tensor([FIRM, FIRM, REACH, REACH]).log())
        self.layers = nn.Sequential(
            nn.Linear(EVIDENCE, hidden), nn.ReLU(inplace=True), silent(hidden, 4)
        )

    def forward(
        self,
        ops: Any,
        answer: Float[Tensor, "B R C 2"],
        tensor: Float[Tensor, "B R C 3"],
        evidence: Float[Tensor, "B R C 13"],
    ) -> Float[Tensor, "B R C 2"]:
        """Return answers that agree.

        Args:
            ops: The module of primitives, ``tensors`` or ``compiled``.
            answer: What each block found, in pixels.
            tensor: Means over its window of the gradients' products xx, xy and yy.
            evidence: What tells a right answer from a wrong one, from ``Matching.evidence``.
        """
        near, between, reach, span = self.formula.exp().unbind()
        hold, beside, amid, voice = self.layers(evidence).clamp(-6, 6).exp().unbind(dim=-1)
        left = evidence[..., 0].clamp_min(0) + evidence[..., 4] + ROUGH
        return ops.draw_together(
            answer,
            tensor * (hold / left.square()).unsqueeze(-1),
            torch.stack([beside * near, amid * between], dim=-1),
            voice,
            torch.stack([reach, span]),
        )
