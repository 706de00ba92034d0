"""Point clouds as .ply files."""

from pathlib import Path

import numpy as np

from patchmatch.io.atomic import write_bytes_atomic

POINT = np.dtype([*((c, "<f4") for c in "xyz"), *((c, "u1") for c in ("red", "green", "blue"))])


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray) -> None:
    """Write a point cloud as a binary little-endian .ply file.

    Args:
        path: The file.
        points: (N, 3) float, x, y and z.
        colors: (N, 3) uint8 RGB.
    """
    table = np.empty(len(points), POINT)
    for i, name in enumerate(POINT.names or ()):
        table[name] = points[:, i] if i < 3 else colors[:, i - 3]
    types = {"<f4": "float", "|u1": "uchar"}
    fields = [f"property {types[POINT[n].str]} {n}" for n in POINT.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *fields]
    text = "\n".join([*header, "end_header", ""])
    write_bytes_atomic(path, text.encode() + table.tobytes())
