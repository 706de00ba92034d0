"""The shift matcher: one-pixel shifts between two patches, learned from digits."""
