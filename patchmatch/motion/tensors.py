"""The primitives of ``MotionNet`` as tensor operations, for training and for GPUs."""

from typing import Any

from torch import Tensor

from patchmatch.motion.candidates import Offered, offer, with_rival
from patchmatch.motion.consensus_steps import answers_around, ballot, draw_together
from patchmatch.motion.features import describe, search
from patchmatch.motion.refine import Matching, settle

__all__ = [
    "Matching",
    "answers_around",
    "ballot",
    "describe",
    "draw_together",
    "offer",
    "score",
    "search",
    "settle",
    "with_rival",
]


def score(
    judge: Any, offered: Offered, residual: Tensor, matching: Matching, level: int
) -> list[Tensor]:
    """Return the logits of all candidates after each message-passing iteration."""
    cells = matching.texture, matching.noise, matching.shares
    return judge(offered, residual, *cells, level)
