"""Synthetic frames of cows that walk over a pasture, with exact ground truth.

The pasture is static; the sprites of the cows move by integer pixels per frame.
"""
