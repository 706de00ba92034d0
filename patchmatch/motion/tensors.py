"""The primitives of ``MotionNet`` as tensor operations, for training and for GPUs."""

from typing import Any

from torch import Tensor

from patchmatch.motion.candidates import Proposals, propose
from patchmatch.motion.consensus_steps import regularise, vote_shares, voting_candidates
from patchmatch.motion.features import extract_features, search
from patchmatch.motion.matching import Matching, median_displacement

__all__ = [
    "Matching",
    "extract_features",
    "median_displacement",
    "propose",
    "regularise",
    "score",
    "search",
    "vote_shares",
    "voting_candidates",
]


def score(
    scorer: Any, proposals: Proposals, residual: Tensor, matching: Matching, level: int
) -> list[Tensor]:
    """Return the logits of all candidates after each message-passing iteration."""
    subwindows = matching.texture, matching.noise, matching.subwindow_weights
    return scorer(proposals, residual, *subwindows, level)
