"""Evaluation of the disparity files of a run against ground truth."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv
from patchmatch.io.disparity import read_disparity
from patchmatch.stereo.layouts import StereoFiles, find_stereo_pairs, read_truth
from patchmatch.stereo.results import VISIBLE_ERRORS, disparity_errors

SUFFIXES = (".pfm", ".png", ".npz")
Row = dict[str, object]


def score_disparity(run: Path, truth: Path, skipped: list[str]) -> tuple[list[Row], list[Row]]:
    """Compare the disparity of each pair with its truth, on the pixels where that is known.

    Args:
        run: Output folder of a run with pairs.csv and pairs/NAME/disparity.pfm.
        truth: Folder of NAME.pfm, NAME.png (16 bits) or NAME.npz, or the file of the only pair, or
            the data set that the pairs of the run are from.
        skipped: Gets a note on each pair that cannot be compared.

    Returns:
        A table with one row, over the pixels of all pairs, and a table with a row for each pair.
        Errors of the pixels that are not occluded are added if the data set has such masks.

    Raises:
        InputError: If no pair has a truth, or the table of the run cannot be read.
    """
    rows = read_csv(run / "pairs.csv", ("name",))
    known = _truths_of_layout(truth)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    details: list[Row] = []
    for row in rows:
        name = row["name"]
        files = _truth_of(row, truth, known, only=len(rows) == 1)
        if files is None:
            skipped.append(f"{name}: no truth; expected {truth / name} with {', '.join(SUFFIXES)}")
            continue
        try:
            values = np.nan_to_num(read_disparity(run / "pairs" / name / "disparity.pfm"))
            found = read_truth(files, None)
            assert found is not None
            true, visible = found
            if values.shape != true.shape:
                raise InputError(
                    f"{files.truth}: must have the size of the disparity, {_size(values)}, got "
                    f"{_size(true)}; give the truth of the same images"
                )
        except InputError as error:
            skipped.append(str(error))
            continue
        visible = None if files.visible is None else visible.ravel()
        parts.append((values.ravel(), true.ravel(), visible))
        details.append({"group": name, **_statistics(*parts[-1])})
    if not details:
        raise InputError(f"{truth}: no pair of {run} has a truth; {skipped[0] if skipped else ''}")
    values, true = (np.concatenate(x) for x in ([p[0] for p in parts], [p[1] for p in parts]))
    masks = [mask for *_, mask in parts if mask is not None]
    has_masks = len(masks) == len(parts)
    total = _statistics(values, true, np.concatenate(masks) if has_masks else None)
    if not has_masks:
        details = [{k: v for k, v in row.items() if k not in VISIBLE_ERRORS} for row in details]
    return [{"group": "all", "pairs": len(details), **total}], details


def _truth_of(
    row: dict[str, str], truth: Path, known: dict[Path, StereoFiles], only: bool
) -> StereoFiles | None:
    """Return the files of the truth of a pair of a run."""
    name, left = row["name"], Path(row.get("left", ""))
    candidates = [truth / f"{name}{suffix}" for suffix in SUFFIXES]
    if only and truth.is_file():
        candidates = [truth]
    target = next((path for path in candidates if path.is_file()), None)
    if target is not None:
        return StereoFiles(name=name, left=left, right=left, truth=target)
    return known.get(left.resolve())


def _truths_of_layout(truth: Path) -> dict[Path, StereoFiles]:
    """Return the pairs with a truth by left image, if the folder is a data set."""
    if not truth.is_dir():
        return {}
    try:
        pairs, _ = find_stereo_pairs(truth)
    except InputError:
        return {}
    return {pair.left.resolve(): pair for pair in pairs if pair.truth is not None}


def _statistics(values: np.ndarray, truth: np.ndarray, visible: np.ndarray | None) -> Row:
    return {
        "pixels": int(np.isfinite(truth).sum()),
        **disparity_errors(values, truth, visible),
    }


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"
