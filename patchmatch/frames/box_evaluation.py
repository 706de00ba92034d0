"""Evaluation of the boxes in ``changes.csv`` against masks of moving objects, or true boxes.

Frames are found by the last number in their names: ``in000612`` has the mask ``gt000612.png``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv
from patchmatch.io.ground_truth import CORNERS, TrueMasks, last_number, true_box
from patchmatch.ops.boxes import box_areas, shared_areas

MIN_MOVING = 0.25  # share of a box that must move, of the pixels that are evaluated
MIN_OVERLAP = 0.5  # of an object, or of the box
MIN_AREA = 100  # pixels: smaller components of a mask are not objects

Boxes = NDArray[np.float64]  #: (N, 4) xyxy in pixels, half-open
Row = dict[str, object]


def read_changes(path: Path) -> dict[tuple[str, str], Boxes]:
    """Read the boxes of a table of changes by the names of their sequence and earlier frame."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for number, row in enumerate(read_csv(path, ("source", "frame0", *CORNERS)), start=1):
        try:
            box = [float(row[name]) for name in CORNERS]
        except ValueError as error:
            raise InputError(f"{path} row {number}: {error}; predict the frames again") from error
        found.setdefault((row["source"], row["frame0"]), []).append(box)
    return {key: np.array(boxes) for key, boxes in found.items()}


def read_frames(run: Path) -> list[tuple[str, str]]:
    """Return the sequence and the earlier frame of every pair of a run, each once."""
    rows = read_csv(run / "pairs.csv", ("source", "frame0"))
    return list(dict.fromkeys((row["source"], row["frame0"]) for row in rows))


def score_boxes(run: Path, truth: Path, offset: int = 0) -> tuple[list[Row], list[Row]]:
    """Compare the boxes of a run with masks or true boxes of the earlier frames.

    Args:
        run: Output folder of a run with changes.csv and pairs.csv.
        truth: Folder of mask images, white where an object moves, or a csv with the columns frame,
            and x, y, width, height or x0, y0, x1, y1. Several sequences are subfolders of masks.
        offset: Added to the numbers of the frames of the run.

    Returns:
        A table with a row for each sequence, and all, and a table with a row for each frame.

    Raises:
        InputError: If a file cannot be read, or no frame has a truth.
    """
    boxes_of = read_changes(run / "changes.csv")
    frames = read_frames(run)
    is_table = truth.is_file()
    score: Callable[[str, str, Boxes], Row | None]
    score = _boxes_scorer(truth, offset) if is_table else _mask_scorer(truth, offset)
    details = []
    for source, frame in frames:
        boxes = boxes_of.get((source, frame), np.zeros((0, 4)))
        scores = score(source, frame, boxes)
        if scores is not None:
            details.append({"group": source, "frame": frame, "boxes": len(boxes)} | scores)
    if not details:
        kind = "row" if is_table else "mask image"
        raise InputError(
            f"{truth}: no {kind} belongs to a frame of {run}; frames are found by the last number "
            "in their names"
        )
    groups = list(dict.fromkeys(row["group"] for row in details))
    rows = [_summary(str(g), [row for row in details if row["group"] == g]) for g in groups]
    return rows + ([_summary("all", details)] if len(groups) > 1 else []), details


def _summary(group: str, details: Sequence[Mapping[str, object]]) -> Row:
    def total(name: str) -> float:
        return sum(float(str(row[name])) for row in details)

    row: Row = {"group": group, "frames": len(details), "boxes": int(total("boxes"))}
    row["precision"] = _share(total("correct"), total("boxes"))
    row |= {"objects": int(total("objects")), "recall": _share(total("detected"), total("objects"))}
    if "moving" in details[0]:
        row["moving_covered"] = _share(total("covered"), total("moving"))
        row["boxed_moving"] = _share(total("covered"), total("boxed"))
    return row


def _boxes_scorer(path: Path, offset: int) -> Callable[[str, str, Boxes], Row | None]:
    """Return a function that scores the boxes of a frame against a table of true boxes."""
    truth: dict[int, list[list[float]]] = {}
    for number, row in enumerate(read_csv(path, ("frame",)), start=1):
        try:
            truth.setdefault(int(row["frame"]), []).append(true_box(row))
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{path} row {number}: expected the number of a frame, and x, y, width, height or "
                f"x0, y0, x1, y1 ({error})"
            ) from error

    def score(source: str, frame: str, boxes: Boxes) -> Row | None:
        number = last_number(frame)
        if number is None or (index := number + offset) not in truth:
            return None
        objects = np.array(truth[index])
        found, true = torch.from_numpy(boxes), torch.from_numpy(objects)
        shared = shared_areas(found, true).numpy()  # (boxes, objects) pixels
        smaller = torch.minimum(box_areas(found)[:, None], box_areas(true)).numpy()
        on_object = shared >= MIN_OVERLAP * smaller
        counts: Row = {"correct": int(on_object.any(axis=1).sum()), "objects": len(objects)}
        counts["detected"] = int(on_object.any(axis=0).sum())
        return counts

    return score


def _mask_scorer(root: Path, offset: int) -> Callable[[str, str, Boxes], Row | None]:
    """Return a function that scores the boxes of a frame against its mask."""
    masks = TrueMasks(root)

    def score(source: str, frame: str, boxes: Boxes) -> Row | None:
        found = masks.read(source, frame, offset)
        return None if found is None else _score_mask(boxes, *found)

    return score


def _score_mask(boxes: Boxes, moving: NDArray[np.bool_], known: NDArray[np.bool_]) -> Row:
    covered = np.zeros(moving.shape, bool)
    count, labels = cv2.connectedComponents(moving.astype(np.uint8))
    areas = np.bincount(labels.ravel(), minlength=count)
    detected: set[int] = set()
    correct = 0
    for x0, y0, x1, y1 in boxes.round().astype(int).clip(0).tolist():
        inside = moving[y0:y1, x0:x1]
        evaluated = int(known[y0:y1, x0:x1].sum())
        correct += bool(evaluated) and inside.sum() >= MIN_MOVING * evaluated
        covered[y0:y1, x0:x1] = True
        shared = np.bincount(labels[y0:y1, x0:x1].ravel(), minlength=count)
        smaller = np.minimum(areas, max(1, inside.size))
        detected |= set(np.flatnonzero(shared >= MIN_OVERLAP * smaller).tolist())
    objects = [k for k in range(1, count) if areas[k] >= MIN_AREA]
    return {
        "correct": int(correct),
        "objects": len(objects),
        "detected": len(detected & set(objects)),
        "moving": int(moving.sum()),
        "boxed": int((covered & known).sum()),
        "covered": int((covered & moving).sum()),
    }


def _share(count: float, total: float) -> float:
    return count / total if total else float("nan")
