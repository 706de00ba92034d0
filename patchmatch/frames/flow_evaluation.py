"""Evaluation of the flow files of a run against ground truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv, read_flo
from patchmatch.io.ground_truth import last_number

WITHIN = (0.5, 1, 3, 5)  # pixels
Row = dict[str, object]


def score_flow(run: Path, truth: Path, skipped: list[str]) -> tuple[list[Row], list[Row]]:
    """Compare the .flo files of a run with ground truth, on the pixels where both are known.

    The truth of a pair is the .flo file whose name is, or ends with the number of, the earlier
    frame, in a folder with the name of the sequence if there are several.

    Args:
        run: Output folder of a run with flow/*.flo and pairs.csv.
        truth: Folder of .flo files, or one of them.
        skipped: Gets a note on each pair that cannot be compared.

    Returns:
        A table with a row for each sequence, and all, and a table with a row for each pair.

    Raises:
        InputError: If no pair has a truth, or the table of the run cannot be read.
    """
    known = [truth] if truth.is_file() else sorted(truth.rglob("*.flo"))
    pairs = read_csv(run / "pairs.csv", ("source", "frame0", "frame1"))
    several = len({row["source"] for row in pairs}) > 1
    details: list[Row] = []
    for row in pairs:
        source, frame0, frame1 = (row[name] for name in ("source", "frame0", "frame1"))
        folder = run / "flow" / (source if several else "")
        names = (f"{frame0}_to_{frame1}.flo", f"{frame1}.flo")
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        target = _truth_of(known, source if several else "", frame0)
        if path is None or target is None:
            continue
        try:
            errors, shared = _errors(path, target)
        except InputError as error:
            skipped.append(str(error))
            continue
        details.append({"group": source, "frame": frame0, "known": shared} | _statistics(errors))
        details[-1]["_errors"] = errors
    if not details:
        raise InputError(
            f"{truth}: no .flo file belongs to a pair of {run}; they are found by the name, or the "
            "last number in the name, of the earlier frame"
        )
    groups = list(dict.fromkeys(row["group"] for row in details))
    rows = [_summary(str(g), [row for row in details if row["group"] == g]) for g in groups]
    rows += [_summary("all", details)] if len(groups) > 1 else []
    return rows, [{k: v for k, v in row.items() if k != "_errors"} for row in details]


def _truth_of(paths: Sequence[Path], source: str, frame: str) -> Path | None:
    chosen = [path for path in paths if not source or source.split("/")[-1] in path.parts]
    if len(paths) == 1 and not source:
        return paths[0]
    exact = [path for path in chosen if path.stem == frame]
    numbered = [path for path in chosen if last_number(path.stem) == last_number(frame)]
    return next(iter(exact or numbered or (chosen if len(chosen) == 1 else [])), None)


def _errors(path: Path, truth: Path) -> tuple[np.ndarray, float]:
    """Return the endpoint errors, and the share of the true pixels that are known in the run."""
    (flow, valid), (true, true_valid) = read_flo(path), read_flo(truth)
    if flow.shape != true.shape:
        raise InputError(
            f"{path}: the flow has {flow.shape[1]}x{flow.shape[0]} pixels, the truth {truth} "
            f"{true.shape[1]}x{true.shape[0]}; predict the frames of the truth"
        )
    both = valid & true_valid
    errors = np.linalg.norm(flow[both] - true[both], axis=1)
    return errors, float(both.sum() / max(1, true_valid.sum()))


def _statistics(errors: np.ndarray) -> Row:
    row: Row = {"epe": float(errors.mean()) if len(errors) else float("nan")}
    row["median"] = float(np.median(errors)) if len(errors) else float("nan")
    return row | {
        f"within_{t:g}": float((errors < t).mean()) if len(errors) else float("nan") for t in WITHIN
    }


def _summary(group: str, details: Sequence[Row]) -> Row:
    errors = np.concatenate([np.asarray(row["_errors"]) for row in details])
    known = float(np.mean([float(str(row["known"])) for row in details]))
    return {"group": group, "pairs": len(details), "known": known} | _statistics(errors)
