"""Readers of the files that ``score_changes`` compares: the table of boxes and the label masks."""

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchmatch.core.errors import InputError
from patchmatch.io import read_bytes, read_csv

MASKS = "truth_masks.npz"
IGNORE_LABEL = 255  # label of pixels without a single motion
KINDS = {"one_pixel": 1, "larger": 2}
CORNERS = ("x0", "y0", "x1", "y1")
COLUMNS = ("source", "frame0", "frame1", *CORNERS, "dx", "dy", "kind")

Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A row of the table of changes.

    Attributes:
        corners: x0, y0, x1, y1 in pixels, half-open.
        displacement: dx, dy in pixels; None if the table has none.
        kind: 1 for one pixel, 2 for more.
    """

    corners: tuple[int, int, int, int]
    displacement: tuple[float, float] | None
    kind: int


def read_truth(path: Path) -> tuple[Labels, NDArray[np.int64]]:
    """Read the label masks of a sequence.

    Args:
        path: A ``truth_masks.npz`` written by ``patchmatch.frames.cows``.

    Returns:
        ``labels`` (T, H, W) uint8 and ``velocity`` (K + 1, 2).

    Raises:
        InputError: If the file is missing, damaged, or has another layout.
    """
    remedy = "render the frames again with dev/render_frames.py --overwrite"
    if not path.exists():
        raise InputError(
            f"{path}: no such file, so there is no ground truth for these frames; give a folder "
            "written by dev/render_frames.py"
        )
    data = read_bytes(path)
    try:
        with np.load(io.BytesIO(data)) as masks:
            labels, velocity = masks["labels"], masks["velocity"]
    except KeyError as error:
        missing = error.args[0].split()[0]
        raise InputError(f"{path}: the array {missing} is missing; {remedy}") from error
    except Exception as error:  # zipfile, zlib and numpy raise unrelated exceptions
        raise InputError(f"{path}: is damaged ({type(error).__name__}); {remedy}") from error
    if labels.ndim != 3 or len(labels) < 2 or labels.dtype != np.uint8:
        raise InputError(
            f"{path}: labels must be (T, H, W) uint8 with T at least 2, got {labels.shape} "
            f"{labels.dtype}; {remedy}"
        )
    if velocity.ndim != 2 or velocity.shape[1] != 2 or velocity.dtype.kind != "i":
        raise InputError(
            f"{path}: velocity must be (K + 1, 2) integers, got {velocity.shape} "
            f"{velocity.dtype}; {remedy}"
        )
    known = (labels < len(velocity)) | (labels == IGNORE_LABEL)
    if not 1 <= len(velocity) <= IGNORE_LABEL or velocity[0].any() or not known.all():
        raise InputError(
            f"{path}: velocity must have a row for each label, and 0, 0 for the background; "
            f"{remedy}"
        )
    return labels, velocity.astype(np.int64)


def read_boxes(path: Path, shape: tuple[int, ...]) -> dict[tuple[int, int], list[Box]]:
    """Read the boxes of one sequence.

    Args:
        path: A ``changes.csv`` written by ``ChangeBoxes``.
        shape: (T, H, W) of the sequence.

    Returns:
        The boxes of each frame pair, keyed by the numbers of the earlier and the later frame.

    Raises:
        InputError: If the table cannot be read or belongs to other frames.
    """
    rows = read_csv(path, COLUMNS)
    sources = sorted({row["source"] for row in rows})
    if len(sources) > 1:
        raise InputError(
            f"{path}: contains several sequences ({', '.join(sources[:3])}); predict the folder "
            "of one sequence and score that"
        )
    boxes: dict[tuple[int, int], list[Box]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            boxes.setdefault(_pair(row, shape[0]), []).append(_box(row, *shape[1:]))
        except ValueError as error:
            raise InputError(
                f"{path} row {number}: {error}; predict the frames of the ground truth again"
            ) from error
    return boxes


def _pair(row: dict[str, str], frames: int) -> tuple[int, int]:
    """Return the numbers of the earlier and the later frame."""
    names = row["frame0"], row["frame1"]
    matches = [re.fullmatch(r"frame_([0-9]{1,9})", name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) < 2 or not 0 <= numbers[0] < numbers[1] < frames:
        raise ValueError(
            f"frame0 and frame1 must be two ordered frames of frame_0 to frame_{frames - 1}, got "
            f"{names[0]}, {names[1]}"
        )
    return numbers[0], numbers[1]


def _box(row: dict[str, str], height: int, width: int) -> Box:
    """Parse the box of a row."""
    if row["kind"] not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {row['kind'] or 'nothing'}")
    x0, y0, x1, y1 = (_number(row, name) for name in CORNERS)
    corners = (int(x0), int(y0), int(x1), int(y1))
    if corners != (x0, y0, x1, y1) or not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"the box must be integer pixels with area inside {width}x{height}, got "
            + ", ".join(row[name] for name in CORNERS)
        )
    has_displacement = row["kind"] == "one_pixel" or row["dx"] or row["dy"]
    displacement = (_number(row, "dx"), _number(row, "dy")) if has_displacement else None
    return Box(corners=corners, displacement=displacement, kind=KINDS[row["kind"]])


def _number(row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {row[name] or 'nothing'}")
    return value
