"""A rendered sequence as files: frames that sort naturally, and their truth.

A folder holds ``frame_0.png``, ``frame_1.png``, ... (no zero padding) and

* ``truth.csv``: a row per object and frame pair. The box is that of the object's visible surface
  in frame 0 (xyxy, pixels, half-open; (0, 0) is the centre of the top-left pixel);
  ``image0[y, x]`` looks like ``image1[y + dy, x + dx]``.
* ``truth_masks.npz``: ``labels`` and ``velocity`` of ``CowSequence``.
"""

import re
import tempfile
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.sequence import CowSequence
from patchmatch.io import (
    FolderSequence,
    atomic_path,
    require_writable_folder,
    write_csv,
    write_image,
)

TRUTH_COLUMNS: tuple[str, ...] = ("frame0", "frame1", "object", "x0", "y0", "x1", "y1", "dx", "dy")
TABLE, MASKS = "truth.csv", "truth_masks.npz"


def truth_rows(sequence: CowSequence) -> list[tuple[str | int, ...]]:
    """Return the rows of ``truth.csv``; an object that nobody sees in frame 0 has none."""
    rows: list[tuple[str | int, ...]] = []
    for t, labels in enumerate(sequence.labels[:-1]):
        for k, (dx, dy) in enumerate(sequence.velocity[1:].tolist(), start=1):
            left, top, w, h = cv2.boundingRect((labels == k).astype(np.uint8))
            if w:
                box = (left, top, left + w, top + h)
                rows.append((f"frame_{t}", f"frame_{t + 1}", k, *box, dx, dy))
    return rows


def write_sequence(sequence: CowSequence, folder: str | Path, overwrite: bool = False) -> None:
    """Write frames, ``truth.csv`` and ``truth_masks.npz``.

    Everything is written beside its place and then moved there, the table last, so that a killed
    run leaves no sequence that looks whole and is not.

    Args:
        sequence: What to write.
        folder: Where to; made if missing.
        overwrite: Whether earlier frames of ours may be replaced, however many they were.

    Raises:
        InputError: If the folder holds frames already, or cannot be written.
    """
    folder = Path(folder)
    earlier = check_folder(folder, overwrite)
    require_writable_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".render_") as name:
        partial = Path(name)
        names = [f"frame_{t}.png" for t in range(len(sequence.frames))]
        for frame_name, frame in zip(names, sequence.frames, strict=True):
            write_image(partial / frame_name, frame)
        with atomic_path(partial / MASKS) as path:
            np.savez_compressed(path, labels=sequence.labels, velocity=sequence.velocity)
        rows = (dict(zip(TRUTH_COLUMNS, row, strict=True)) for row in truth_rows(sequence))
        write_csv(partial / TABLE, TRUTH_COLUMNS, rows)
        try:
            (folder / TABLE).unlink(missing_ok=True)
            for path in earlier:
                path.unlink()
            for file_name in (*names, MASKS, TABLE):
                (partial / file_name).replace(folder / file_name)
        except OSError as error:
            raise InputError(
                f"{folder}: the frames there cannot be replaced ({error.strerror}); close the "
                "programs that use them, or give another folder"
            ) from error


def check_folder(folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Refuse to mix a rendered sequence with other pictures.

    Args:
        folder: Where a sequence is to be written; it need not exist.
        overwrite: Whether earlier frames of ours may be replaced.

    Returns:
        The earlier frames.

    Raises:
        InputError: If the folder is a file, holds pictures of another origin, or holds frames of
            ours that may not be replaced.
    """
    folder = Path(folder)
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the frames")
    found = list(FolderSequence(folder).paths)
    foreign = [path for path in found if not re.fullmatch(r"frame_\d+\.png", path.name)]
    if foreign:
        raise InputError(
            f"{folder}: holds pictures of another origin, such as {foreign[0].name}; "
            "give another folder"
        )
    if not overwrite and (found or (folder / TABLE).exists()):
        raise InputError(
            f"{folder}: already holds frames or their truth; overwrite them (--overwrite in "
            "dev/render_frames.py), remove them, or give another folder"
        )
    return found
