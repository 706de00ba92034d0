"""Point clouds as .ply files."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.files import read_bytes

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


def read_ply(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of ``write_ply``: points (N, 3) float32 and colors (N, 3) uint8 RGB.

    Raises:
        InputError: If the file has another content.
    """
    header, _, body = read_bytes(path).partition(b"end_header\n")
    lines = header.decode("ascii", "replace").split("\n")
    counts = [line.split()[-1] for line in lines if line.startswith("element vertex ")]
    names = [line.split()[-1] for line in lines if line.startswith("property ")]
    if tuple(names) != POINT.names or len(counts) != 1 or "binary_little_endian" not in lines[1]:
        raise InputError(f"{path}: expected binary points with colors; give a file of this package")
    table = np.frombuffer(body, POINT, int(counts[0]))
    columns = [table[name] for name in names]
    return np.stack(columns[:3], axis=1), np.stack(columns[3:], axis=1)
