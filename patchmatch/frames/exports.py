"""Exports of changes: dense flow, arrays and JSON lines."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from patchmatch.frames.results import FrameChanges
from patchmatch.io import write_bytes_atomic, write_text_atomic
from patchmatch.writing.chunks import Row


def pixel_flow(
    changes: FrameChanges, height: int, width: int, total: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the measured flow of every pixel, or ``block_flow`` if only blocks are measured.

    The arguments and results are those of ``block_flow``.
    """
    if changes.flow is None:
        return block_flow(changes, height, width, total)
    flow = changes.flow.permute(1, 2, 0).numpy()  # (H, W, 2)
    valid = np.isfinite(np.abs(flow).max(axis=2))
    if changes.camera is not None and not total:
        flow = flow - _camera_flow(changes.boxes.numpy(), changes.camera.numpy(), height, width)
    return np.where(valid[..., None], flow, np.float32(0)), valid


def _camera_flow(boxes: np.ndarray, camera: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the affine motion of the camera, known in N boxes, of every pixel, (H, W, 2)."""
    centres = (boxes[:, :2] + boxes[:, 2:] - 1) / 2
    design = np.c_[np.ones(len(centres)), centres]
    constant, along_x, along_y = np.linalg.lstsq(design, camera, rcond=None)[0].astype(np.float32)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return constant + along_x * x[:, None] + along_y * y[:, None, None]


def block_flow(
    changes: FrameChanges, height: int, width: int, total: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return a dense flow where each pixel has the displacement of its block.

    A pixel in several blocks belongs to the block with the nearest centre, and to the first of
    equally near blocks.

    Args:
        changes: All blocks of a pair.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        total: Whether to include the motion of the camera.

    Returns:
        The flow, (H, W, 2) float32, dx and dy in pixels, 0 where invalid; and the valid mask,
        (H, W) bool, True in matched blocks.
    """
    nearest = np.full((height, width), np.inf, np.float32)
    owner = np.full((height, width), -1, np.int64)
    for index, (x0, y0, x1, y1) in enumerate(changes.boxes.tolist()):
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        x = np.arange(x0, x1, dtype=np.float32) - (x0 + x1 - 1) / 2
        y = np.arange(y0, y1, dtype=np.float32) - (y0 + y1 - 1) / 2
        distance = y[:, None] ** 2 + x**2
        nearer = distance < nearest[y0:y1, x0:x1]
        nearest[y0:y1, x0:x1][nearer] = distance[nearer]
        owner[y0:y1, x0:x1][nearer] = index
    # Row -1 is for pixels outside all blocks.
    motion = changes.total_displacement if total else changes.displacement
    displacement = np.concatenate([motion.numpy(), np.full((1, 2), np.nan)], dtype=np.float32)
    flow = displacement[owner]  # (H, W, 2)
    valid = np.isfinite(np.abs(flow).max(axis=2))
    return np.where(valid[..., None], flow, np.float32(0)), valid


def write_block_arrays(path: Path, changes: FrameChanges) -> None:
    """Write all blocks of a pair as arrays of an .npz; unknown values are NaN."""
    camera = changes.camera
    content = io.BytesIO()
    np.savez_compressed(
        content,
        boxes=changes.boxes.numpy(),
        displacement=changes.displacement.numpy(),
        displacement_total=changes.total_displacement.numpy(),
        kind=changes.kind.numpy(),
        score=changes.score.numpy(),
        matched=changes.matched.numpy(),
        confidence=changes.confidence.numpy(),
        camera=np.full((len(changes), 2), np.nan, np.float32) if camera is None else camera.numpy(),
    )
    write_bytes_atomic(path, content.getvalue())


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines; unknown values are null."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_text_atomic(path, "".join(lines))
