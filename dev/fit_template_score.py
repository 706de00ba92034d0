"""Fit the score of template matching to generated scenes with and without the object.

python3 dev/fit_template_score.py --weights vgg19.pth --rows data/score.csv

Searches templates in scenes of dev/pasted_scenes.py with VGG-19 and with handcrafted features,
given as crops and as images with boxes: the object in its scene, the templates of other scenes
whose photographs differ, and every third time in its scene without it. Writes the evidence of each
search to --rows, a csv file that a later call continues, and prints intercept and coefficients of
logistic regressions for patchmatch/templates/confidence.py, in which an object counts as present if
the box overlaps it by at least --overlap; half of the templates are present by weight.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_templates import (  # type: ignore[import-not-found]
    BOXED,
    Boxed,
    detector_of,
    kinds_of_features,
    overlap,
)
from pasted_scenes import PastedScenes, make_scenes  # type: ignore[import-not-found]

from patchmatch.io import read_csv, write_csv
from patchmatch.synthetic.photographs import bundled_photographs, load_rgb_image
from patchmatch.templates import search
from patchmatch.templates.confidence import REGRESSIONS, Evidence, probability
from patchmatch.templates.matcher import TemplateMatcher

COLUMNS = ("features", "given", "scene", "template", "overlap", *Evidence._fields)
SEED = 7
NUM_OTHERS = 2  # templates of other scenes searched in each scene
NUM_KEPT = 12  # scenes whose templates are searched in later ones
EMPTY_EVERY = 3  # scenes
RIDGE = 1.0  # of coefficients for inputs of unit variance
Row = dict[str, Any]


def record_evidence() -> list[Evidence]:
    """Return a list that receives the evidence of every search from now on."""
    recorded: list[Evidence] = []

    def recording(evidence: Evidence, regression: str, num_poses: int = 1) -> float:
        recorded.append(evidence)
        return probability(evidence, regression, num_poses)

    search.probability = recording
    return recorded


def given_as(how: str, scenes: PastedScenes) -> np.ndarray | Boxed:
    """Return the template of scenes as a crop, or as an image and its box."""
    x0, y0, x1, y1 = scenes.box0
    if how == BOXED:
        return Boxed(scenes.image0, scenes.box0)
    return scenes.image0[y0:y1, x0:x1]


def search_scenes(name: str, matcher: TemplateMatcher, numbers: range) -> Iterator[list[Row]]:
    """Yield the rows of each pair of scenes."""
    photographs = [load_rgb_image(path) for path in bundled_photographs()]
    recorded, find = record_evidence(), detector_of(matcher)
    earlier: list[tuple[int, PastedScenes]] = []
    for number in numbers:
        scenes = make_scenes(photographs, np.random.default_rng((SEED, number)))
        others = [pair for pair in earlier if not pair[1].sources & scenes.sources][-NUM_OTHERS:]
        searches = [(scenes.image1, number, scenes)]
        searches += [(scenes.image1, i, other) for i, other in others]
        if number % EMPTY_EVERY == 0:
            searches.append((scenes.empty, number, scenes))
        rows = []
        for how in ("crop", BOXED):
            for image, i, other in searches:
                box, _ = find(image, given_as(how, other))
                is_there = image is scenes.image1 and i == number
                shared = overlap(box, scenes.box1) if is_there else 0.0
                of_search = {"features": name, "given": how, "scene": number, "template": i}
                evidence = recorded[-1]._asdict()
                rows.append({**of_search, "overlap": shared if is_there else -1.0, **evidence})
        earlier = [*earlier, (number, scenes)][-NUM_KEPT:]
        yield rows


def fit_logistic(inputs: np.ndarray, label: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return intercept and coefficients of a ridge logistic regression by Newton's method."""
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    design = np.c_[np.ones(len(inputs)), (inputs - mean) / std]
    ridge = np.r_[0.0, np.full(inputs.shape[1], RIDGE)]
    beta = np.zeros(design.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weight * (p - label)) + ridge * beta
        curvature = (design.T * (weight * p * (1 - p))) @ design + np.diag(ridge + 1e-9)
        beta -= np.linalg.solve(curvature, gradient)
    coefficients = beta[1:] / std
    return np.r_[beta[0] - coefficients @ mean, coefficients]


def fit_rows(rows: list[Row], names: tuple[str, ...], least: float) -> np.ndarray:
    """Return intercept and coefficients of the inputs of these names."""
    inputs = np.array([[float(row[name]) for name in names] for row in rows])
    overlaps = np.array([float(row["overlap"]) for row in rows])
    used = (overlaps < 0) | (overlaps >= least)  # an object found elsewhere is neither
    label = (overlaps >= least)[used]
    weight = np.where(label, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    return fit_logistic(inputs[used], label, weight)


def collect(path: Path, weights: str, count: int) -> list[Row]:
    """Search the scenes that are not in a csv file yet, write all rows to it and return them."""
    rows: list[Row] = list(read_csv(path)) if path.is_file() else []
    for name, given in kinds_of_features(weights).items():
        done = {int(row["scene"]) for row in rows if row["features"] == name}
        matcher = TemplateMatcher(**given, threshold=0.0, max_detections=1).eval()
        start = max(done, default=-1) + 1
        for of_scene in search_scenes(name, matcher, range(start, count)):
            rows += of_scene
            write_csv(path, COLUMNS, rows)
    return rows


def main() -> None:
    """Collect the evidence, fit, and print the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="csv file of the evidence")
    parser.add_argument("--weights", required=True, help="file with the weights of VGG-19")
    parser.add_argument("--scenes", type=int, default=160, help="number of pairs of scenes")
    parser.add_argument("--overlap", type=float, default=0.3, help="least overlap of a right box")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    rows = collect(options.rows, options.weights, options.scenes)
    names = tuple(REGRESSIONS["network"].coefficients)
    for features in kinds_of_features(options.weights):
        used = [row for row in rows if row["features"] == features]
        found = fit_rows(used, names, options.overlap)
        there = [float(row["overlap"]) for row in used]
        console.print(
            f"{features}: {', '.join(f'{value:.2f}' for value in found)}  (1, {', '.join(names)}; "
            f"{sum(v >= options.overlap for v in there)} found, {sum(v < 0 for v in there)} absent)"
        )


if __name__ == "__main__":
    main()
