"""SE(2)-LoFTR: LoFTR with a rotation-equivariant backbone."""

from torch import nn

from patchmatch.pairs.loftr.se2_backbone import SE2Backbone


def se2_loftr() -> nn.Module:
    """Return kornia's LoFTR with ``SE2Backbone`` as backbone and random weights.

    The transformer receives rotation-invariant features plus LoFTR's positional encoding, as in
    SE2-LoFTR (Bökman and Kahl 2022). Inputs and outputs are those of kornia's LoFTR. A weight file
    contains its ``state_dict``.
    """
    from kornia.feature import LoFTR
    from kornia.feature.loftr.loftr import default_cfg

    # The corrected positional encoding; LoFTR's first weights were trained with a faulty one.
    coarse = {**default_cfg["coarse"], "temp_bug_fix": True}
    net = LoFTR(None, {**default_cfg, "coarse": coarse})
    net.add_module("backbone", SE2Backbone(coarse["d_model"], default_cfg["fine"]["d_model"]))
    return net
