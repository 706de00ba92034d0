"""Evaluation of the files of a run: objects.csv against true boxes, masks against true masks."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv, read_image
from patchmatch.io.frames import fit_file_name
from patchmatch.io.ground_truth import CORNERS, TrueMasks, last_number, true_box
from patchmatch.objects.tracking_metrics import Tracks, score_tracks

THRESHOLDS = (0.3, 0.5)  # intersection over union of matched boxes
Row = dict[str, object]


def score_objects(run: Path, truth: Path, offset: int = 0) -> tuple[list[Row], list[Row], str]:
    """Evaluate the objects of a run.

    Args:
        run: Output folder of a run with objects.csv and frames.csv.
        truth: A csv with the columns frame, x, y, width, height or frame, x0, y0, x1, y1, and for
            tracks also id; a text file of MOTChallenge; or a folder of mask images, which are
            compared with the masks of the run.
        offset: Added to the numbers of the frames of the run.

    Returns:
        The table, a table with more details, and the protocol.

    Raises:
        InputError: If a file cannot be read, or no frame has a truth.
    """
    if truth.is_dir():
        return _score_masks(run, truth, offset)
    return _score_boxes(run, truth, offset)


def _score_boxes(run: Path, truth: Path, offset: int) -> tuple[list[Row], list[Row], str]:
    names = _frames(run)
    if len({source for source, _ in names}) > 1:
        raise InputError(
            f"{run}: contains several sequences; predict the one that {truth} belongs to"
        )
    true = _read_tracks(truth, _true_rows(truth))
    rows = read_csv(run / "objects.csv", ("frame", "track", *CORNERS))
    shifted = (
        (number + offset, int(row["track"]), [float(row[c]) for c in CORNERS])
        for row in rows
        if (number := last_number(row["frame"])) is not None
    )
    predicted = _read_tracks(run / "objects.csv", shifted)
    numbers = (last_number(frame) for _, frame in names)
    frames = [n + offset for n in numbers if n is not None and n + offset in true]
    if not frames:
        raise InputError(
            f"{truth}: no row belongs to a frame of {run}; frames are found by the last number in "
            "their names, give --frame_offset if they are counted differently"
        )
    table: list[Row] = []
    for threshold in THRESHOLDS:
        scores = score_tracks(predicted, true, frames, threshold)
        table.append(
            {
                "group": f"IoU {threshold}",
                "frames": len(frames),
                "boxes": scores.predicted,
                "objects": scores.true,
                "precision": scores.matched / scores.predicted if scores.predicted else 0.0,
                "recall": scores.matched / scores.true if scores.true else 0.0,
                "f1": scores.f1,
                "mota": scores.mota,
                "idf1": scores.idf1,
                "switches": scores.switches,
                "true_tracks": scores.true_tracks,
            }
        )
    return table, [], "boxes matched one to one; frames with ground truth only"


def _read_tracks(path: Path, rows: Iterable[tuple[int, int, list[float]]]) -> Tracks:
    numbers: dict[int, list[int]] = {}
    boxes: dict[int, list[list[float]]] = {}
    for frame, track, box in rows:
        numbers.setdefault(frame, []).append(track)
        boxes.setdefault(frame, []).append(box)
    return {frame: (numbers[frame], np.array(boxes[frame])) for frame in numbers}


def _true_rows(path: Path) -> Iterable[tuple[int, int, list[float]]]:
    """Yield frame, number and box of each row of the truth."""
    try:
        if path.suffix.lower() == ".txt":  # MOTChallenge counts pixels from 1 as well
            for line in path.read_text(encoding="utf-8").splitlines():
                frame, track, x, y, width, height = (float(v) for v in line.split(",")[:6])
                box = [x - 1, y - 1, x - 1 + width, y - 1 + height]
                yield int(frame), int(track), box
            return
        for index, row in enumerate(read_csv(path, ("frame",))):
            yield int(row["frame"]), int(row.get("id", index)), true_box(row)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{path}: expected the columns frame, id, x, y, width, height, or a text file of "
            f"MOTChallenge ({error})"
        ) from error


def _score_masks(run: Path, truth: Path, offset: int) -> tuple[list[Row], list[Row], str]:
    folder = run / "masks"
    if not folder.is_dir():
        raise InputError(f"{run}: has no masks; predict with --writer.formats [mask]")
    names, masks = _frames(run), TrueMasks(truth)
    details: list[Row] = []
    for source, frame in names:
        found = masks.read(source, frame, offset)
        if found is None:
            continue
        moving, known = found
        place = folder / source if (folder / source).is_dir() else folder  # one of several, or one
        path = place / f"{fit_file_name(frame)}.png"
        predicted = read_image(path) > 0
        if predicted.shape != moving.shape:
            raise InputError(f"{path}: differs in size from its true mask; give the masks of {run}")
        true, said = moving & known, predicted & known
        both, union = int((true & said).sum()), int((true | said).sum())
        row: Row = {"group": source, "frame": frame, "true": int(true.sum())}
        row |= {"predicted": int(said.sum()), "both": both}
        details.append(row | {"jaccard": both / union if union else 1.0})
    if not details:
        raise InputError(
            f"{truth}: no mask image belongs to a frame of {run}; frames are found by the last "
            "number in their names, give --frame_offset if they are counted differently; masks of "
            "several sequences lie in folders of their names"
        )
    groups = list(dict.fromkeys(str(row["group"]) for row in details))
    table = [_mask_row(g, [row for row in details if row["group"] == g]) for g in groups]
    if len(groups) > 1:
        table.append(_mask_row("all", details))
    return table, details, "pixels of all frames (CDnet); jaccard is the mean over frames (DAVIS)"


def _mask_row(group: str, rows: list[Row]) -> Row:
    true, said, both = (
        sum(int(str(row[name])) for row in rows) for name in ("true", "predicted", "both")
    )
    return {
        "group": group,
        "frames": len(rows),
        "precision": both / said if said else 0.0,
        "recall": both / true if true else 0.0,
        "f1": 2 * both / (said + true) if said + true else 1.0,
        "jaccard": sum(float(str(row["jaccard"])) for row in rows) / len(rows),
    }


def _frames(run: Path) -> list[tuple[str, str]]:
    """Return sequence and name of each frame of a run."""
    rows = read_csv(run / "frames.csv", ("source", "frame"))
    return [(row["source"], row["frame"]) for row in rows]
