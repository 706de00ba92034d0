"""Render frames of cows that walk over a pasture, with exact ground truth.

python3 dev/render_frames.py --output data/images/cows

Nothing is downloaded. patchmatch/frames/cows/files.py describes the written files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.files import check_folder, write_sequence
from patchmatch.frames.cows.sequence import render_sequence


class OneLineParser(argparse.ArgumentParser):
    """A parser that prints errors as one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Render the frames and return the exit code."""
    parser = OneLineParser(
        prog="render_frames",
        description="Render cows that walk at known speeds, and write the ground truth.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    parser.add_argument("--frames", type=int, default=12, help="number of frames")
    parser.add_argument("--height", type=int, default=576, help="height in pixels")
    parser.add_argument("--width", type=int, default=768, help="width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument(
        "--noise", type=float, default=2.0, help="standard deviation of the noise in gray levels"
    )
    parser.add_argument(
        "--light", type=float, default=0.03, help="amplitude of the brightness variation"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier frames")
    args = parser.parse_args(argv)
    try:
        check_folder(args.output, args.overwrite)  # fail before rendering
        sequence = render_sequence(
            args.frames, args.height, args.width, args.seed, args.noise, args.light
        )
        write_sequence(sequence, args.output, args.overwrite)
    except InputError as error:
        parser.error(str(error))
    speeds = np.abs(sequence.velocity[1:]).max(axis=1)
    print(
        f"Wrote {args.frames} frames of {args.width}x{args.height} with {len(speeds)} cows "
        f"(speeds {', '.join(map(str, np.unique(speeds)))} px per frame) to {args.output}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
