"""LoFTR with a backbone that does not mind how the picture is turned."""

from torch import nn

from patchmatch.pairs.loftr.se2_backbone import SE2Backbone


def se2_loftr() -> nn.Module:
    """Return kornia's LoFTR with ``SE2Backbone`` in the place of its own, with random weights.

    What the transformer is given are rotation-invariant features plus LoFTR's encoding of places,
    as in SE2-LoFTR (Bökman and Kahl 2022). It is called as kornia's LoFTR is; ``state_dict`` holds
    what a file of weights must hold.
    """
    from kornia.feature import LoFTR
    from kornia.feature.loftr.loftr import default_cfg

    # as LoFTR was meant: the encoding of its first weights had a slip
    coarse = {**default_cfg["coarse"], "temp_bug_fix": True}
    net = LoFTR(None, {**default_cfg, "coarse": coarse})
    net.add_module("backbone", SE2Backbone(coarse["d_model"], default_cfg["fine"]["d_model"]))
    return net
