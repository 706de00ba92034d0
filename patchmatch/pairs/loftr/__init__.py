"""LoFTR and its rotation-equivariant variant, SE(2)-LoFTR."""
