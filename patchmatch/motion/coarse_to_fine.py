"""Settings and results of the coarse-to-fine estimation."""

from typing import NamedTuple

from torch import Tensor

from patchmatch.motion.candidates import Proposals

LEVELS = 4
COARSEST = LEVELS - 1
SEARCH_CANDIDATES = 4  # per block, of the exhaustive search on the coarsest level
MAX_CANDIDATES = 10  # that are scored per block in eval mode; training scores all
STEPS = (2, 2, 2)  # Lucas-Kanade iterations, by level
MIN_RADIUS, MAX_DEFAULT_RADIUS = 6, 20  # of the default search, in pixels of the coarsest level


def default_radius(width: int) -> int:
    """Return the search radius in units of 8 pixels: a quarter of the width, 48 to 160 pixels."""
    return min(max(-(-width // 32), MIN_RADIUS), MAX_DEFAULT_RADIUS)


class Scored(NamedTuple):
    """Scores of the candidates of one level, supervised in training."""

    level: int
    proposals: Proposals
    zero_residual: Tensor  #: (B, R, C, 16), residual of zero motion in each subwindow
    logits: list[Tensor]  #: (B, R, C, K) before and after each message-passing iteration


class Refined(NamedTuple):
    """Displacements after one refinement step, supervised in training."""

    level: int
    displacement: Tensor  #: (B, R, C, K, 2) pixels of the level; only the first is supervised


class Motion(NamedTuple):
    """Motion of every block.

    Attributes:
        displacement: (B, R, C, 2), dx and dy in pixels from frame 0 to frame 1.
        confidence_logits: (B, R, C, 2), logits of two probabilities: that the displacement is
            right within half a pixel, and that most of the block is visible in frame 1.
        trace: The intermediate decisions that the training loss supervises, or None.
    """

    displacement: Tensor
    confidence_logits: Tensor
    trace: list[Scored | Refined] | None = None
