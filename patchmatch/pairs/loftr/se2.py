"""SE(2)-LoFTR: LoFTR with a rotation-equivariant backbone."""

from torch import nn

from patchmatch.pairs.loftr.net import build_loftr
from patchmatch.pairs.loftr.se2_backbone import FIELDS


def se2_loftr() -> nn.Module:
    """Return kornia's LoFTR of published size with ``SE2Backbone`` and random weights.

    The transformer receives rotation-invariant features plus LoFTR's positional encoding, as in
    SE2-LoFTR (Bökman and Kahl 2022). Inputs and outputs are those of kornia's LoFTR. A weight file
    contains its ``state_dict``.
    """
    return build_loftr(fields=FIELDS)
