"""Precompute the overlapping pairs of images of PhotoTourism's scenes, for ``PosedPairs``.

python3 dev/phototourism_overlaps.py FOLDER

FOLDER contains SCENE/dense/sparse/{cameras,images}.bin. Each scene gets dense/sparse/ov_pairs.npy:
a dictionary from a minimum overlap to pairs of names, the layout of Patch2Pix. ``PosedPairs``
computes them itself where the file is missing; with it, a training starts faster.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.io import write_bytes_atomic
from patchmatch.pairs.posed_pairs import OVERLAP_FILE, OVERLAPS, overlapping_pairs


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--overlaps", type=float, nargs="+", default=OVERLAPS, metavar="SHARE")
    options = parser.parse_args()
    folders = sorted(path.parent for path in options.folder.glob("*/dense/sparse/images.bin"))
    if not folders:
        sys.exit(f"{options.folder}: contains no SCENE/dense/sparse/images.bin; check the path")
    for folder in folders:
        found = overlapping_pairs(folder, options.overlaps)
        buffer = io.BytesIO()
        np.save(buffer, np.array(found, dtype=object), allow_pickle=True)
        write_bytes_atomic(folder / OVERLAP_FILE, buffer.getvalue())
        counts = ", ".join(f"{limit:g}: {len(pairs)}" for limit, pairs in found.items())
        print(f"{folder.parents[1].name}: pairs by minimum overlap: {counts}")


if __name__ == "__main__":
    main()
