"""Differentiable PatchMatch (Duggal et al., ICCV 2019)."""
