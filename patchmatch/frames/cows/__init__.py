"""Cows that walk over a pasture, drawn from a seed, with the exact truth of every movement.

The pasture never moves, and the sprites of the cows move by whole pixels from frame to frame.
"""

from patchmatch.frames.cows.files import TRUTH_COLUMNS, check_folder, truth_rows, write_sequence
from patchmatch.frames.cows.sequence import UNDECIDED, CowSequence, check_options, render_sequence

__all__ = [
    "TRUTH_COLUMNS",
    "UNDECIDED",
    "CowSequence",
    "check_folder",
    "check_options",
    "render_sequence",
    "truth_rows",
    "write_sequence",
]
