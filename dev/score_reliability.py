"""How often a template is present by its score: table and curve."""

import itertools
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from rich.table import Table

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of the bins of scores
FEWEST = 8  # searches in a bin that is drawn
FOUND = 0.5  # least intersection over union of a right box
MOST_ALARMS = 0.03  # share of absent templates above a chosen threshold


class Searches(NamedTuple):
    """Scores of templates that are present and of templates that are absent.

    Attributes:
        present: (N,) scores of templates that are in their scene.
        overlaps: (N,) intersection over union of their boxes and the true ones.
        sequences: N names.
        absent: (M,) scores of templates of other scenes.
        absent_sequences: M names, of the scenes.
    """

    present: np.ndarray
    overlaps: np.ndarray
    sequences: list[str]
    absent: np.ndarray
    absent_sequences: list[str]


def missed(found: Searches, threshold: float) -> str:
    """Return the shares of templates below a threshold: of all, and of those in a right box."""
    right = found.overlaps > FOUND
    low = found.present < threshold
    return f"{low.sum()} of {len(low)}, in a right box {low[right].sum()} of {right.sum()}"


def bins(found: Searches) -> list[tuple[float, float, float, int]]:
    """Return mean score, share present, share in a right box, and count, of each bin of scores.

    Templates that are present and those that are absent have the same total weight.
    """
    scores = np.r_[found.present, found.absent]
    is_present = np.r_[np.ones(len(found.present)), np.zeros(len(found.absent))]
    is_right = np.r_[found.overlaps > FOUND, np.zeros(len(found.absent))]
    weight = np.where(is_present, 0.5 / len(found.present), 0.5 / len(found.absent))
    rows = []
    for low, high in itertools.pairwise(EDGES):
        inside = (scores >= low) & ((scores < high) | (high == EDGES[-1]))
        shares = (
            float(np.average(values[inside], weights=weight[inside])) if inside.any() else np.nan
            for values in (scores, is_present, is_right)
        )
        rows.append((*shares, int(inside.sum())))
    return rows


def choose_threshold(found: Searches) -> str:
    """Report thresholds with few false alarms, chosen by leaving each sequence out."""
    low = alarms = 0
    of_present, of_absent = (np.array(s) for s in (found.sequences, found.absent_sequences))
    thresholds = []
    for name in sorted(set(found.sequences)):
        others = np.sort(found.absent[of_absent != name])[::-1]
        threshold = others[int(MOST_ALARMS * len(others))] + 1e-6
        thresholds.append(threshold)
        low += int((found.present[of_present == name] < threshold).sum())
        alarms += int((found.absent[of_absent == name] >= threshold).sum())
    return (
        f"threshold by leaving a sequence out {np.mean(thresholds):.2f}: missed {low} of "
        f"{len(found.present)}, false alarms {alarms} of {len(found.absent)}"
    )


def show_reliability(searches: dict[str, Searches], path: Path) -> Table:
    """Return the table of the bins of several methods, and draw their curves."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    table = Table("method", *(f"{a} to {b}" for a, b in itertools.pairwise(EDGES)), "log loss")
    figure, axes = plt.subplots(figsize=(4.4, 3.8), layout="constrained")
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
    for (name, found), marker in zip(searches.items(), itertools.cycle("os^v"), strict=False):
        rows = bins(found)
        cells = [f"{present:.2f} ({right:.2f}), {count}" for _, present, right, count in rows]
        floor = 1e-4  # of probabilities, so that the loss is finite
        loss = -0.5 * np.log(found.present.clip(floor)).mean()
        loss -= 0.5 * np.log((1 - found.absent).clip(floor)).mean()
        table.add_row(name, *cells, f"{loss:.2f}")
        points = [(score, present) for score, present, _, count in rows if count >= FEWEST]
        axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, label=name)
    axes.set(xlabel="score", ylabel="share of templates that are present")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return table
