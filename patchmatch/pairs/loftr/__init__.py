"""LoFTR and its rotation-equivariant form."""
