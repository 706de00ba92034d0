"""Optical flow in the .flo format of the Middlebury benchmark."""

import struct
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.files import read_bytes

_TAG = b"PIEH"  # as a float it reads 202021.25, which proves the order of the bytes
_HEADER = struct.Struct("<4sii")
_LARGEST = 99_999  # pixels of a side, as in the reference code
_LIMIT, _UNKNOWN = 1e9, 1e10  # what is longer than the one is unknown, and written as the other


def read_flo(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a flow.

    Args:
        path: A .flo file.

    Returns:
        The flow, (H, W, 2) float32, dx and dy in pixels, and a bool mask (H, W) that is True
        where it is known. Where it is not, the flow is 0.

    Raises:
        InputError: If the file is missing, cut off or no .flo.
    """
    data = read_bytes(path)
    if not data.startswith(_TAG):
        hint = "; it is stored in big-endian order" if data.startswith(_TAG[::-1]) else ""
        raise InputError(f"{path}: this is no .flo file{hint}; it must begin with the bytes PIEH")
    if len(data) < _HEADER.size:
        raise InputError(f"{path}: the .flo file is cut off in its header; copy it again")
    _, width, height = _HEADER.unpack_from(data)
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST):
        raise InputError(
            f"{path}: the .flo file is damaged: its header states {width}x{height} pixels; "
            "copy or make it again"
        )
    expected = _HEADER.size + 8 * width * height
    if len(data) != expected:
        fault = "cut off" if len(data) < expected else "too long"
        raise InputError(
            f"{path}: the .flo file is {fault}: {width}x{height} pixels take {expected} bytes, "
            f"it has {len(data)}; copy or make it again"
        )
    flow = np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(height, width, 2)
    valid = _known(flow)
    return np.where(valid[..., None], flow, 0).astype(np.float32), valid


def write_flo(path: str | Path, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write a flow, atomically.

    Args:
        path: The .flo file to write.
        flow: (H, W, 2), dx and dy in pixels; what is not finite or beyond 1e9 is unknown.
        valid: (H, W) bool, where the flow is known; None where it is finite.

    Raises:
        ValueError: If the shapes are others.
        InputError: If the file cannot be written.
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise ValueError(f"flow must be (H, W, 2) with at least one pixel, got {flow.shape}")
    if max(flow.shape) > _LARGEST:
        raise ValueError(f"a side of a flow must have at most {_LARGEST} pixels, got {flow.shape}")
    if valid is not None and valid.shape != flow.shape[:2]:
        raise ValueError(f"valid must be {flow.shape[:2]} as the flow is, got {valid.shape}")
    known = _known(flow) if valid is None else _known(flow) & valid.astype(bool)
    values = np.where(known[..., None], flow, _UNKNOWN).astype("<f4")
    height, width = values.shape[:2]
    write_bytes_atomic(path, _HEADER.pack(_TAG, width, height) + values.tobytes())


def _known(flow: np.ndarray) -> np.ndarray:
    """Return where both components are numbers of a possible size, (H, W) bool."""
    return np.abs(flow).max(axis=2) <= _LIMIT  # a comparison with NaN is False
