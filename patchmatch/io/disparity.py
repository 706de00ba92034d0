"""Disparity files: .pfm of Middlebury and SceneFlow, 16-bit .png of KITTI, and .npz."""

import zipfile
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.files import read_bytes

PNG_SCALE = 256  # units of a 16-bit .png per pixel


def read_disparity(path: str | Path, *, either_sign: bool = False) -> np.ndarray:
    """Read a disparity map, (H, W) float32 in pixels, NaN where unknown.

    Infinite and negative values of .pfm files, and zeros of all formats, are unknown. The .npz
    file contains one array, or one of the name ``disparity``.

    Args:
        path: The file.
        either_sign: Take absolute values: SceneFlow stores -d in some of its parts.

    Raises:
        InputError: If the file cannot be read as a disparity map.
    """
    path = Path(path)
    data = read_bytes(path)
    readers = {".pfm": _decode_pfm, ".png": _decode_png, ".npz": _decode_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: expected .pfm, 16-bit .png or .npz; convert the disparity")
    try:
        values = readers[path.suffix.lower()](data)
    except (ValueError, KeyError, OSError, cv2.error, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read as a disparity map ({str(error)[:80]}); give another file"
        ) from error
    if either_sign:
        values = np.abs(values)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan).astype(np.float32)


def write_pfm(path: str | Path, values: np.ndarray) -> None:
    """Write (H, W) float32 values as .pfm, little-endian, rows from the bottom."""
    height, width = values.shape
    header = f"Pf\n{width} {height}\n-1\n".encode()
    write_bytes_atomic(path, header + np.flipud(values).astype("<f4").tobytes())


def write_disparity_png(path: str | Path, disparity: np.ndarray) -> None:
    """Write 256 times the disparity (H, W) in pixels as 16-bit .png, as KITTI does; 0 is unknown.

    Disparities below 1/256 become 1/256, and NaN becomes 0.
    """
    units = np.rint(disparity * PNG_SCALE).clip(1, 65535)
    units = np.where(np.isfinite(disparity), units, 0).astype(np.uint16)
    write_bytes_atomic(path, cv2.imencode(".png", units)[1].tobytes())


def _decode_pfm(data: bytes) -> np.ndarray:
    kind, size, scale, values = data.split(b"\n", 3)
    if kind.strip() != b"Pf":
        raise ValueError("expected Pf in the first line")
    width, height = map(int, size.split())
    order = "<" if float(scale) < 0 else ">"
    if width < 1 or height < 1 or len(values) < 4 * width * height:
        raise ValueError("truncated")
    found = np.frombuffer(values, f"{order}f4", width * height)
    return np.flipud(found.reshape(height, width))


def _decode_png(data: bytes) -> np.ndarray:
    units = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if units is None or units.dtype != np.uint16 or units.ndim != 2:
        raise ValueError("expected 16 bits and one channel")
    return units.astype(np.float32) / PNG_SCALE


def _decode_npz(data: bytes) -> np.ndarray:
    import io

    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        names = arrays.files
        values = arrays["disparity" if "disparity" in names else names[0]]
    if values.ndim != 2:
        raise ValueError(f"expected (H, W), got {values.shape}")
    return values
