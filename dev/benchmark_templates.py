"""Benchmark the accuracy of template matching: the tables of docs/templates.md.

python3 dev/benchmark_templates.py --pairs FOLDER --weights vgg19.pth
python3 dev/benchmark_templates.py --pairs FOLDER --weights vgg19.pth --choose
python3 dev/benchmark_templates.py --pairs FOLDER --weights vgg19.pth --reliability score.png

The folder contains NAME_frm1_*.jpg, whose box (x,y,w,h) in a .txt of the same name is the template,
and NAME_frm2_*.jpg, the scene, with its true box. AUC is the mean share of pairs whose intersection
over union reaches 0, 0.05 .. 0.95. "True size" gives each detection the size of the true box, about
its own centre; "own size" uses the box as detected. Intervals are 95% bootstrap intervals over
sequences. --choose validates the settings by leaving sequences out. --reliability measures the
score only: how often templates are present by their score, how many present ones are missed
at the threshold, and the threshold chosen by leaving sequences out.
"""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_templates_speed import time_layers
from score_reliability import (  # type: ignore[import-not-found]
    Searches,
    choose_threshold,
    missed,
    show_reliability,
)

import patchmatch.templates.search as search_module
from patchmatch.io import read_image
from patchmatch.ops.boxes import box_iou
from patchmatch.public.images import to_rgb
from patchmatch.templates.features import SceneFeatures, normalize_features
from patchmatch.templates.hough import box_mean
from patchmatch.templates.matcher import SCORES, TemplateMatcher
from patchmatch.templates.qatm import best_matches, qatm_scores
from patchmatch.templates.template_features import Pose, extract_template_features

THRESHOLDS = np.arange(20) / 20
NUM_MISMATCHED = 5  # by default: templates of other sequences that are searched in each scene
BOXED = "image and box"
CACHE_SIZE = 40  # scenes
Box = tuple[float, float, float, float]


class Boxed(NamedTuple):
    """A template given as an image and its box."""

    image: np.ndarray
    box: Box


class Pair(NamedTuple):
    """A template, a scene, the true box in the scene, and the image that the template is from."""

    sequence: str
    template: np.ndarray | Boxed
    scene: np.ndarray
    truth: Box
    boxed: Boxed | None = None


Detector = Callable[[np.ndarray, "np.ndarray | Boxed"], tuple[Box, float]]


def read_box(path: Path) -> Box:
    """Read a box written as x, y, width, height."""
    numbers = re.split(r"[,\s]+", path.read_text().strip())
    x, y, width, height = map(float, numbers)
    return x, y, x + width, y + height


def read_pairs(folder: Path) -> list[Pair]:
    """Read all pairs of a folder by name; the box of the scene may be named after either frame."""
    pairs = []
    for path1 in sorted(folder.glob("*_frm2_*.jpg")):
        name, _, rest = path1.stem.partition("_frm2_")
        (path0,) = folder.glob(f"{name}_frm1_*.jpg")
        candidates = [path1.with_suffix(".txt"), folder / f"{name}_frm1_{rest}.txt"]
        truth = read_box(next(path for path in candidates if path.is_file()))
        image = read_image(path0)
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(value) for value in read_box(path0.with_suffix(".txt")))
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(x1, width), min(y1, height)
        boxed = Boxed(image, (x0, y0, x1, y1))
        sequence = rest.rpartition("_")[0]
        pairs.append(Pair(sequence, image[y0:y1, x0:x1], read_image(path1), truth, boxed))
    return pairs


def overlap(box0: Box, box1: Box) -> float:
    """Return the intersection over union of two boxes."""
    return box_iou(torch.tensor([box0]).double(), torch.tensor([box1]).double()).item()


def with_size_of(box: Box, truth: Box) -> Box:
    """Return a box with its own centre and the size of another box."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    width, height = truth[2] - truth[0], truth[3] - truth[1]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def success(overlaps: np.ndarray) -> np.ndarray:
    """Return the area under the success curve of each pair."""
    return (overlaps[:, None] >= THRESHOLDS).mean(axis=1) - (overlaps == 0) / len(THRESHOLDS)


def interval(values: np.ndarray, sequences: list[str], draws: int = 2000) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over sequences."""
    names = sorted(set(sequences))
    groups = [values[[s == name for s in sequences]] for name in names]
    rng = np.random.default_rng(0)
    means = [
        np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).mean()
        for _ in range(draws)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def opencv(gray: bool) -> Detector:
    """Return a detector by OpenCV's matchTemplate with the normalised correlation coefficient."""

    def find(scene: np.ndarray, template: np.ndarray) -> tuple[Box, float]:
        if gray:
            scene, template = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (scene, template))
        _, score, _, (x, y) = cv2.minMaxLoc(
            cv2.matchTemplate(scene, template, cv2.TM_CCOEFF_NORMED)
        )
        return (x, y, x + template.shape[1], y + template.shape[0]), score

    return find


def qatm_without_voting(matcher: TemplateMatcher) -> Detector:
    """Return a detector by QATM without Hough voting: the box of the highest mean log quality."""

    def find(scene: np.ndarray, template: np.ndarray) -> tuple[Box, float]:
        scene_features = matcher.extract_features(to_rgb(scene)[0])
        one = extract_template_features(matcher.backbone, to_rgb(template)[0], None, Pose())
        scene_maps = scene_features.cells(slice(0, math.prod(scene_features.grid)))
        features0, (features1,) = normalize_features(scene_maps, [one.maps])
        quality = best_matches(qatm_scores(features0, features1)).scene_score
        height, width = one.size
        cells = (max(1, round(height / 4)), max(1, round(width / 4)))
        heat = box_mean(quality.view(scene_features.grid), cells)
        row, column = divmod(int(heat.argmax()), scene_features.grid[1])
        x, y = (
            4 * (cell + 0.5 * (1 + (1 - side % 2)))
            for cell, side in ((column, cells[1]), (row, cells[0]))
        )
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), heat.max().item()

    return find


def detector_of(matcher: TemplateMatcher) -> Detector:
    """Return the detector of a matcher, which caches the features of the last scenes."""
    cache: dict[int, tuple[np.ndarray, SceneFeatures]] = {}

    def find(scene: np.ndarray, template: np.ndarray | Boxed) -> tuple[Box, float]:
        if id(scene) not in cache or cache[id(scene)][0] is not scene:
            if len(cache) > CACHE_SIZE:
                cache.clear()
            cache[id(scene)] = scene, matcher.extract_features(to_rgb(scene)[0])
        features = cache[id(scene)][1]
        if isinstance(template, Boxed):
            box = torch.tensor(template.box, dtype=torch.float32)
            found = matcher.detect(features, to_rgb(template.image)[0], box=box)
        else:
            found = matcher.detect(features, to_rgb(template)[0])
        if not len(found):
            return (-2.0, -2.0, -1.0, -1.0), 0.0
        x0, y0, x1, y1 = found.boxes[0].tolist()
        return (x0, y0, x1, y1), found.scores[0].item()

    return find


def measure(pairs: list[Pair], find: Detector) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the overlaps with true and own size, the scores, and CPU seconds per pair."""
    rows, start = [], time.process_time()
    for pair in pairs:
        box, score = find(pair.scene, pair.template)
        rows.append((
            overlap(with_size_of(box, pair.truth), pair.truth), overlap(box, pair.truth), score
        ))  # fmt: skip
    seconds = (time.process_time() - start) / len(pairs)
    true_size, own_size, scores = np.array(rows).T
    return true_size, own_size, scores, seconds


def all_mismatched_scores(pairs: list[Pair], find: Detector) -> np.ndarray:
    """Return the scores of templates of other sequences in all scenes."""
    return np.concatenate([mismatched_scores(pairs, i, find) for i in range(len(pairs))])


def mismatched_scores(
    pairs: list[Pair], number: int, find: Detector, most: int = NUM_MISMATCHED
) -> list[float]:
    """Return the scores of templates of other sequences in the scene of one pair."""
    here, count = pairs[number], len(pairs)
    steps = [1 + count * i // (most + 1) for i in range(most)]
    others = [pairs[(number - step) % count] for step in steps]
    return [
        find(here.scene, other.template)[1]
        for other in others
        if other.sequence != here.sequence and fits(other.template, here.scene)
    ]


def fits(template: np.ndarray | Boxed, scene: np.ndarray) -> bool:
    """Return whether a template is not larger than a scene."""
    if isinstance(template, Boxed):
        x0, y0, x1, y1 = template.box
        return y1 - y0 <= scene.shape[0] and x1 - x0 <= scene.shape[1]
    return template.shape[0] <= scene.shape[0] and template.shape[1] <= scene.shape[1]


def accuracy_table(pairs: list[Pair], weights: str, threshold: float, only: str = "") -> Table:
    """Return the table of the methods whose name contains a text, on all pairs."""
    finders: dict[str, Detector] = {
        "OpenCV, gray": opencv(gray=True),
        "OpenCV, RGB": opencv(gray=False),
        "QATM without voting, VGG-19": qatm_without_voting(TemplateMatcher(weights=weights).eval()),
    }
    for name, given in kinds_of_features(weights).items():
        for score in SCORES:
            matcher = TemplateMatcher(**given, score=score, threshold=0.0, max_detections=1)
            finders[f"patchmatch, {name}, {score}"] = detector_of(matcher.eval())
            if score == "qatm":
                finders[f"patchmatch, {name}, {BOXED}"] = detector_of(matcher.eval())
    table = Table(
        *("method", "AUC, true size", "AUC, own size", "correct and kept", "missed"),
        *("false alarms", "AUC, own size, kept", "CPU s per pair"),
        title=f"{len(pairs)} pairs",
    )
    sequences = [pair.sequence for pair in pairs]
    for name, find in finders.items():
        if only not in name:
            continue
        given = [p._replace(template=p.boxed) for p in pairs] if name.endswith(BOXED) else pairs
        true_size, own_size, scores, seconds = measure(given, find)
        cells = []
        for overlaps in (true_size, own_size):
            values = success(overlaps)
            low, high = interval(values, sequences)
            cells.append(f"{values.mean():.3f} ({low:.2f} to {high:.2f})")
        kept = absent = alarms = kept_auc = ""
        if name.startswith("patchmatch"):
            correct = own_size > 0.3
            wrong = all_mismatched_scores(given, find)
            kept = f"{(scores[correct] >= threshold).sum()} of {correct.sum()}"
            absent = f"{(scores < threshold).sum()} of {len(scores)}"
            alarms = f"{(wrong >= threshold).sum()} of {len(wrong)}"
            kept_auc = f"{(success(own_size) * (scores >= threshold)).mean():.3f}"
        cells += [kept, absent, alarms, kept_auc, f"{seconds:.2f}"]
        table.add_row(name, *cells)
        Console(width=140, stderr=True).print(name, *cells)
    return table


def search_all(pairs: list[Pair], matcher: TemplateMatcher, most: int) -> dict[str, Searches]:
    """Return the searches of templates given as crops, and as images and boxes.

    Args:
        pairs: The pairs.
        matcher: The matcher, with a threshold of 0.
        most: Templates of other sequences that are searched in each scene.
    """
    find, found = detector_of(matcher), {}
    given = {"crop": pairs, BOXED: [p._replace(template=p.boxed) for p in pairs]}
    rows: dict[str, list[tuple[float, float]]] = {how: [] for how in given}
    absent: dict[str, list[list[float]]] = {how: [] for how in given}
    for number in range(len(pairs)):  # scene by scene, to reuse its features
        for how, templates in given.items():
            pair = templates[number]
            box, score = find(pair.scene, pair.template)
            rows[how].append((score, overlap(box, pair.truth)))
            absent[how].append(mismatched_scores(templates, number, find, most))
    names = [pair.sequence for pair in pairs]
    for how in given:
        scores, overlaps = np.array(rows[how]).T
        of_absent = [name for name, one in zip(names, absent[how], strict=True) for _ in one]
        found[how] = Searches(scores, overlaps, names, np.concatenate(absent[how]), of_absent)
    return found


def reliability(
    pairs: list[Pair], weights: str, options: argparse.Namespace, console: Console
) -> None:
    """Print how reliable the scores are, and draw the curve."""
    searches = {}
    for name, given in kinds_of_features(weights).items():
        if options.only in name:
            matcher = TemplateMatcher(**given, threshold=0.0, max_detections=1).eval()
            for how, found in search_all(pairs, matcher, options.mismatched).items():
                searches[f"{name}, {how}"] = found
    names = [pair.sequence for pair in pairs]
    for name, found in searches.items():
        own_size = success(found.overlaps)
        low, high = interval(own_size, names)
        alarms = (found.absent >= options.threshold).sum()
        console.print(
            f"{name}: AUC, own size, {own_size.mean():.3f} ({low:.2f} to {high:.2f}); missed "
            f"{missed(found, options.threshold)}; false alarms {alarms} of "
            f"{len(found.absent)}; {choose_threshold(found)}"
        )
    console.print(show_reliability(searches, options.reliability))


def kinds_of_features(weights: str) -> dict[str, dict[str, str]]:
    """Return the options of the matcher for each kind of features."""
    return {"handcrafted": {"features": "handcrafted"}, "VGG-19": {"weights": weights}}


def choose(pairs: list[Pair], weights: str) -> str:
    """Report the AUC of settings chosen and measured by leave-one-sequence-out validation."""
    matcher = TemplateMatcher(weights=weights, threshold=0, max_detections=1).eval()
    scenes = [matcher.extract_features(to_rgb(pair.scene)[0]) for pair in pairs]
    templates = [to_rgb(pair.template)[0] for pair in pairs]
    values = []
    settings = list(product((15.0, 25.0, 40.0), (0.08, 0.12, 0.16), (0.2, 0.3)))
    for alpha, search_module.VOTE_SIGMA, search_module.FIT_RADIUS in settings:
        matcher.alpha = alpha
        boxes = [
            tuple(matcher.detect(scene, template).boxes[0].tolist())
            for scene, template in zip(scenes, templates, strict=True)
        ]
        both = zip(boxes, pairs, strict=True)
        values.append([
            (overlap(with_size_of(box, p.truth), p.truth), overlap(box, p.truth)) for box, p in both
        ])  # fmt: skip
    table = np.stack([[success(column) for column in np.array(rows).T] for rows in values])
    left_out = []
    for i, pair in enumerate(pairs):
        others = [p.sequence != pair.sequence for p in pairs]
        best = table[:, :, others].mean(axis=(1, 2)).argmax()
        left_out.append(table[best, :, i])
    validated = np.mean(left_out, axis=0)
    means = table.mean(axis=2)
    best = means.mean(axis=1).argmax()
    return (
        f"leave one sequence out among {len(settings)} settings: {validated[0]:.3f} true size, "
        f"{validated[1]:.3f} own size; best {settings[best]}: {means[best].round(3).tolist()}; "
        f"range {means.min(axis=0).round(3).tolist()} to {means.max(axis=0).round(3).tolist()}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--weights", required=True, help="file with the weights of VGG-19")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score kept")
    parser.add_argument("--only", default="", help="measure the methods whose name contains this")
    parser.add_argument("--choose", action="store_true", help="validate the choice of settings")
    parser.add_argument("--reliability", type=Path, help="measure the score; picture to write")
    parser.add_argument(
        "--mismatched", type=int, default=NUM_MISMATCHED, help="absent templates in each scene"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    pairs = read_pairs(options.pairs)
    if options.reliability is not None:
        reliability(pairs, options.weights, options, console)
        return
    if options.choose:
        console.print(choose(pairs, options.weights))
        return
    if not options.only:
        console.print(time_layers())
    console.print(accuracy_table(pairs, options.weights, options.threshold, options.only))


if __name__ == "__main__":
    main()
