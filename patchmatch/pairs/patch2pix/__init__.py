"""Patch2Pix: matches of patches, refined to pixels under epipolar supervision."""
