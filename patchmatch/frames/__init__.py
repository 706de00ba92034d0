"""Ordered frames: reading clips, results per block, and the writer of changes."""
