"""Optical flow in the formats of the Middlebury (.flo) and KITTI (16-bit PNG) benchmarks."""

import struct
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.files import read_bytes

_TAG = b"PIEH"  # the float32 202021.25 in little-endian order
_HEADER = struct.Struct("<4sii")
_MAX_SIDE = 99_999  # pixels, as in the reference code
_INVALID_ABOVE, _INVALID = 1e9, 1e10  # threshold of invalid components, and their value in files
_PNG_SCALE, _PNG_ZERO = 64, 2**15  # levels per pixel, and the level of zero motion


def read_flo(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a flow from a .flo file.

    Args:
        path: A .flo file.

    Returns:
        The flow, (H, W, 2) float32, dx and dy in pixels, and the valid mask, (H, W) bool. The flow
        is 0 where it is not valid.

    Raises:
        InputError: If the file is missing, truncated or not a .flo file.
    """
    data = read_bytes(path)
    if not data.startswith(_TAG):
        hint = " in little-endian order" if data.startswith(_TAG[::-1]) else ""
        raise InputError(f"{path}: not a .flo file{hint}; it must begin with the bytes PIEH")
    if len(data) < _HEADER.size:
        raise InputError(f"{path}: the .flo file is truncated in its header; copy it again")
    _, width, height = _HEADER.unpack_from(data)
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise InputError(
            f"{path}: the .flo file is damaged: its header states {width}x{height} pixels; copy or "
            "create it again"
        )
    expected = _HEADER.size + 8 * width * height
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise InputError(
            f"{path}: the .flo file is {fault}: expected {expected} bytes for {width}x{height} "
            f"pixels, got {len(data)}; copy or create it again"
        )
    flow = np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(height, width, 2)
    valid = _is_valid(flow)
    return np.where(valid[..., None], flow, 0).astype(np.float32), valid


def write_flo(path: str | Path, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write a flow to a .flo file atomically.

    Args:
        path: The .flo file to write.
        flow: (H, W, 2), dx and dy in pixels; not valid where not finite or beyond 1e9.
        valid: (H, W) bool; None means valid wherever finite.

    Raises:
        ValueError: If a shape is wrong.
        InputError: If the file cannot be written.
    """
    mask = _mask(flow, valid)
    if max(flow.shape) > _MAX_SIDE:
        raise ValueError(f"flow must have at most {_MAX_SIDE} pixels per side, got {flow.shape}")
    values = np.where(mask[..., None], flow, _INVALID).astype("<f4")
    height, width = values.shape[:2]
    write_bytes_atomic(path, _HEADER.pack(_TAG, width, height) + values.tobytes())


def write_flow_png(path: str | Path, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write a flow to a 16-bit PNG in the format of the KITTI benchmark, atomically.

    The red and green channels are dx and dy in units of 1/64 pixel plus 32768, the blue channel is
    1 where the flow is valid. The format holds -512 to 511.98 pixels; larger motion is not valid.

    Args:
        path: The .png file to write.
        flow: (H, W, 2), dx and dy in pixels; not valid where not finite.
        valid: (H, W) bool; None means valid wherever finite.

    Raises:
        ValueError: If a shape is wrong.
        InputError: If the file cannot be written.
    """
    mask = _mask(flow, valid)
    levels = np.rint(np.where(mask[..., None], flow, 0) * _PNG_SCALE) + _PNG_ZERO
    mask &= ((levels >= 0) & (levels < 2 * _PNG_ZERO)).all(axis=2)
    bgr = np.dstack([mask, levels[..., 1], levels[..., 0]]) * mask[..., None]
    write_bytes_atomic(path, cv2.imencode(".png", bgr.astype(np.uint16))[1].tobytes())


def _mask(flow: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return where a flow is valid, (H, W) bool; raise ValueError if a shape is wrong."""
    if flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise ValueError(f"flow must be (H, W, 2) with at least one pixel, got {flow.shape}")
    if valid is not None and valid.shape != flow.shape[:2]:
        raise ValueError(f"valid must be {flow.shape[:2]} like the flow, got {valid.shape}")
    return _is_valid(flow) if valid is None else _is_valid(flow) & valid.astype(bool)


def _is_valid(flow: np.ndarray) -> np.ndarray:
    """Return where both components are finite and at most 1e9, (H, W) bool."""
    return np.abs(flow).max(axis=2) <= _INVALID_ABOVE  # a comparison with NaN is False
