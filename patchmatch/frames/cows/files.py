"""Files of a rendered sequence: frames and ground truth.

A folder contains ``frame_0.png``, ``frame_1.png``, ... (without zero padding) and

* ``truth.csv``: one row per object and frame pair. The box bounds the visible pixels of the object
  in frame 0 (xyxy, pixels, half-open); ``image0[y, x]`` equals ``image1[y + dy, x + dx]`` up to
  noise and brightness.
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
    """Return the rows of ``truth.csv``; an object without visible pixels in frame 0 has none."""
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

    The files are written to a temporary folder and then moved, the table last, so that an
    interrupted run never leaves a sequence that only looks complete.

    Args:
        sequence: The sequence to write.
        folder: Output folder; created if missing.
        overwrite: Whether to replace all earlier rendered frames.

    Raises:
        InputError: If the folder already contains frames, or cannot be written.
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
                f"{folder}: the existing frames cannot be replaced ({error.strerror}); close the "
                "programs that use them, or give another folder"
            ) from error


def check_folder(folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Check that a rendered sequence can be written to a folder.

    Args:
        folder: The output folder; it may be missing.
        overwrite: Whether earlier rendered frames may be replaced.

    Returns:
        The earlier rendered frames.

    Raises:
        InputError: If the folder is a file, contains other images, or contains rendered frames
            and ``overwrite`` is False.
    """
    folder = Path(folder)
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the frames")
    earlier = list(FolderSequence(folder).paths)
    foreign = [path for path in earlier if not re.fullmatch(r"frame_\d+\.png", path.name)]
    if foreign:
        raise InputError(
            f"{folder}: contains images that were not rendered, such as {foreign[0].name}; "
            "give another folder"
        )
    if not overwrite and (earlier or (folder / TABLE).exists()):
        raise InputError(
            f"{folder}: already contains rendered frames or ground truth; replace them with "
            "--overwrite of dev/render_frames.py, remove them, or give another folder"
        )
    return earlier
