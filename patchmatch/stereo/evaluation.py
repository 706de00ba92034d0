"""Evaluation of the disparity files of a run against ground truth."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_csv
from patchmatch.io.disparity import read_disparity
from patchmatch.stereo.results import disparity_errors

SUFFIXES = (".pfm", ".png", ".npz")
Row = dict[str, object]


def score_disparity(run: Path, truth: Path, skipped: list[str]) -> tuple[list[Row], list[Row]]:
    """Compare the disparity of each pair with its truth, on the pixels where that is known.

    Args:
        run: Output folder of a run with pairs.csv and pairs/NAME/disparity.pfm.
        truth: Folder of NAME.pfm, NAME.png (16 bits) or NAME.npz, or the file of the only pair.
        skipped: Gets a note on each pair that cannot be compared.

    Returns:
        A table with one row, over the pixels of all pairs, and a table with a row for each pair.

    Raises:
        InputError: If no pair has a truth, or the table of the run cannot be read.
    """
    names = [row["name"] for row in read_csv(run / "pairs.csv", ("name",))]
    found, known, details = [], [], []
    for name in names:
        candidates = [truth / f"{name}{suffix}" for suffix in SUFFIXES]
        if len(names) == 1 and truth.is_file():
            candidates = [truth]
        target = next((path for path in candidates if path.is_file()), None)
        if target is None:
            skipped.append(f"{name}: no truth; expected {truth / name} with {', '.join(SUFFIXES)}")
            continue
        try:
            values = np.nan_to_num(read_disparity(run / "pairs" / name / "disparity.pfm"))
            true = read_disparity(target)
            if values.shape != true.shape:
                raise InputError(
                    f"{target}: must have the size of the disparity, {_size(values)}, got "
                    f"{_size(true)}; give the truth of the same images"
                )
        except InputError as error:
            skipped.append(str(error))
            continue
        found.append(values.ravel())
        known.append(true.ravel())
        details.append({"group": name, **_statistics(values, true)})
    if not details:
        raise InputError(f"{truth}: no pair of {run} has a truth; {skipped[0] if skipped else ''}")
    total = _statistics(np.concatenate(found), np.concatenate(known))
    return [{"group": "all", "pairs": len(details), **total}], details


def _statistics(values: np.ndarray, truth: np.ndarray) -> Row:
    return {"pixels": int(np.isfinite(truth).sum()), **disparity_errors(values, truth)}


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"
