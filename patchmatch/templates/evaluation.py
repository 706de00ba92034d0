"""Evaluation of the detections of templates against true boxes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv
from patchmatch.ops.boxes import box_iou

CORNERS = ("x0", "y0", "x1", "y1")
THRESHOLDS = np.arange(20) / 20  # of the intersection over union
FOUND = 0.5  # intersection over union of a found object
Row = dict[str, object]
Box = tuple[float, float, float, float]


def score_templates(run: Path, truth: Path) -> tuple[list[Row], list[Row]]:
    """Compare the detections of a run with true boxes.

    Args:
        run: Output folder of a run with boxes.csv.
        truth: A csv with the columns scene, template, and x0, y0, x1, y1 or x, y, width, height:
            an object per row. Names are those of boxes.csv.

    Returns:
        A table with a row for each template, and all, and a table with a row for each object.
        ``iou`` is the largest intersection over union of an object with a detection of its
        template in its scene, ``auc`` the mean share of objects that reach 0, 0.05, .. 0.95;
        ``precision`` is the share of detections that reach 0.5 with an object.

    Raises:
        InputError: If a table cannot be read, or they have no scene in common.
    """
    detections, objects = _read(run / "boxes.csv"), _read(truth)
    scenes = {scene for scene, _ in detections} | _missed_scenes(run)
    objects = {key: boxes for key, boxes in objects.items() if key[0] in scenes}
    if not objects:
        raise InputError(f"{truth}: no scene of the table is a scene of {run}; compare the names")
    details: list[Row] = []
    correct: dict[str, int] = {}
    for (scene, template), boxes in objects.items():
        found = detections.get((scene, template), [])
        overlap = box_iou(torch.tensor(boxes), torch.tensor(found).view(-1, 4)).numpy()
        best = overlap.max(axis=1) if found else np.zeros(len(boxes))
        details += [
            {"group": template, "scene": scene, "iou": float(iou), "detected": bool(found)}
            for iou in best
        ]
        hits = int((overlap.max(axis=0) >= FOUND).sum()) if found else 0
        correct[template] = correct.get(template, 0) + hits
    number = dict.fromkeys(correct, 0)
    for (scene, template), boxes in detections.items():
        if template in number and scene in {key[0] for key in objects}:
            number[template] += len(boxes)
    rows = []
    for template in correct:
        chosen = [row for row in details if row["group"] == template]
        rows.append(_summary(template, chosen, number[template], correct[template]))
    if len(rows) > 1:
        rows.append(_summary("all", details, sum(number.values()), sum(correct.values())))
    return rows, details


def _summary(name: str, details: Sequence[Row], detections: int, correct: int) -> Row:
    overlap = np.array([float(str(row["iou"])) for row in details])
    return {
        "group": name,
        "objects": len(details),
        "found": float((overlap >= FOUND).mean()),
        "auc": float((overlap[:, None] >= THRESHOLDS).mean()),
        "mean_iou": float(overlap.mean()),
        "detections": detections,
        "precision": correct / detections if detections else float("nan"),
    }


def _read(path: Path) -> dict[tuple[str, str], list[Box]]:
    found: dict[tuple[str, str], list[Box]] = {}
    for number, row in enumerate(read_csv(path, ("scene", "template")), start=1):
        try:
            found.setdefault((row["scene"], row["template"]), []).append(_box(row))
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} row {number}: expected x0, y0, x1, y1 or x, y, width, height ({error})"
            ) from error
    return found


def _box(row: Mapping[str, str]) -> Box:
    if "x0" in row:
        x0, y0, x1, y1 = (float(row[name]) for name in CORNERS)
        return x0, y0, x1, y1
    x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _missed_scenes(run: Path) -> set[str]:
    path = run / "not_found.csv"
    return {row["scene"] for row in read_csv(path, ("scene",))} if path.is_file() else set()
