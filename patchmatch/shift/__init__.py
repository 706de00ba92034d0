"""Shift matcher: displacements of at most one pixel between two patches, learned from digits."""
