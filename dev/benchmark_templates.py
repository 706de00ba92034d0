"""How well templates are found, and how fast: the table of docs/benchmarks.md, "Templates".

python3 dev/benchmark_templates.py --pairs FOLDER --weights vgg19.pth
python3 dev/benchmark_templates.py --pairs FOLDER --weights vgg19.pth --choose

A folder of pairs has NAME_frm1_*.jpg with its box (x,y,w,h) beside it as .txt, the template, and
NAME_frm2_*.jpg with its box, the scene. AUC is the mean share of pairs whose overlap (intersection
over union) reaches 0, 0.05 .. 0.95. "True size" asks for the centre alone; "own size" takes the box
as it is. The interval is 95% by drawing sequences with replacement.
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

import patchmatch.templates.search as search_module
from patchmatch.io import read_image
from patchmatch.public.images import to_rgb
from patchmatch.templates.features import DescribedScene, Pose, describe_template, unite
from patchmatch.templates.hough import box_mean
from patchmatch.templates.matcher import SCORES, TemplateMatcher
from patchmatch.templates.qatm import best_matches, qatm_scores

THRESHOLDS = np.arange(20) / 20
MISMATCHED = 5  # scenes of other sequences that each template is sought in
KEPT = 40  # scenes
Box = tuple[float, float, float, float]
Finder = Callable[[np.ndarray, np.ndarray], tuple[Box, float]]


class Pair(NamedTuple):
    """A template, a scene, and the true box there."""

    sequence: str
    template: np.ndarray
    scene: np.ndarray
    truth: Box


def read_box(path: Path) -> Box:
    """Read a box written as x, y, width, height."""
    numbers = re.split(r"[,\s]+", path.read_text().strip())
    x, y, width, height = map(float, numbers)
    return x, y, x + width, y + height


def read_pairs(folder: Path) -> list[Pair]:
    """Read all pairs of a folder, by name; the later frame's box may be named after either."""
    pairs = []
    for path1 in sorted(folder.glob("*_frm2_*.jpg")):
        name, _, rest = path1.stem.partition("_frm2_")
        (path0,) = folder.glob(f"{name}_frm1_*.jpg")
        beside = [path1.with_suffix(".txt"), folder / f"{name}_frm1_{rest}.txt"]
        truth = read_box(next(path for path in beside if path.is_file()))
        image = read_image(path0)
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(value) for value in read_box(path0.with_suffix(".txt")))
        crop = image[max(0, y0) : min(y1, height), max(0, x0) : min(x1, width)]
        pairs.append(Pair(rest.rpartition("_")[0], crop, read_image(path1), truth))
    return pairs


def overlap(box0: Box, box1: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = max(0.0, min(box0[2], box1[2]) - max(box0[0], box1[0]))
    height = max(0.0, min(box0[3], box1[3]) - max(box0[1], box1[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box0, box1)]
    return width * height / (sum(areas) - width * height)


def with_size_of(box: Box, truth: Box) -> Box:
    """Return a box with the size of another one, about its own centre."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    width, height = truth[2] - truth[0], truth[3] - truth[1]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def success(overlaps: np.ndarray) -> np.ndarray:
    """Return the area under the success curve of each pair."""
    return (overlaps[:, None] >= THRESHOLDS).mean(axis=1) - (overlaps == 0) / len(THRESHOLDS)


def interval(values: np.ndarray, sequences: list[str], draws: int = 2000) -> tuple[float, float]:
    """Return the 95% interval of the mean over sequences drawn with replacement."""
    names = sorted(set(sequences))
    groups = [values[[s == name for s in sequences]] for name in names]
    rng = np.random.default_rng(0)
    means = [
        np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).mean()
        for _ in range(draws)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def opencv(gray: bool) -> Finder:
    """Return OpenCV's matchTemplate by the correlation coefficient."""

    def find(scene: np.ndarray, template: np.ndarray) -> tuple[Box, float]:
        if gray:
            scene, template = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (scene, template))
        _, score, _, (x, y) = cv2.minMaxLoc(
            cv2.matchTemplate(scene, template, cv2.TM_CCOEFF_NORMED)
        )
        return (x, y, x + template.shape[1], y + template.shape[0]), score

    return find


def qatm_alone(matcher: TemplateMatcher) -> Finder:
    """Return QATM without votes: the box of the highest mean log quality."""

    def find(scene: np.ndarray, template: np.ndarray) -> tuple[Box, float]:
        described = matcher.describe(to_rgb(scene)[0])
        one = describe_template(matcher.backbone, to_rgb(template)[0], None, Pose())
        scene_maps = described.features(slice(0, math.prod(described.grid)))
        scene_features, (features,) = unite(scene_maps, [one.maps])
        quality = best_matches(qatm_scores(scene_features, features)).scene
        height, width = one.size
        cells = (max(1, round(height / 4)), max(1, round(width / 4)))
        heat = box_mean(quality.view(described.grid), cells)
        row, column = divmod(int(heat.argmax()), described.grid[1])
        x, y = (
            4 * (place + 0.5 * (1 + (1 - side % 2)))
            for place, side in ((column, cells[1]), (row, cells[0]))
        )
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), heat.max().item()

    return find


def ours(matcher: TemplateMatcher) -> Finder:
    """Return our matcher; the score is the probability."""
    known: dict[int, tuple[np.ndarray, DescribedScene]] = {}  # the last scenes, for they come again

    def find(scene: np.ndarray, template: np.ndarray) -> tuple[Box, float]:
        if id(scene) not in known or known[id(scene)][0] is not scene:
            if len(known) > KEPT:
                known.clear()
            known[id(scene)] = scene, matcher.describe(to_rgb(scene)[0])
        found = matcher.find(known[id(scene)][1], to_rgb(template)[0])
        if not len(found):
            return (-2.0, -2.0, -1.0, -1.0), 0.0
        x0, y0, x1, y1 = found.boxes[0].tolist()
        return (x0, y0, x1, y1), found.scores[0].item()

    return find


def measure(pairs: list[Pair], find: Finder) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the overlaps with true and own size, the scores, and CPU seconds a pair."""
    rows, start = [], time.process_time()
    for pair in pairs:
        box, score = find(pair.scene, pair.template)
        rows.append((
            overlap(with_size_of(box, pair.truth), pair.truth), overlap(box, pair.truth), score
        ))  # fmt: skip
    seconds = (time.process_time() - start) / len(pairs)
    true_size, own_size, scores = np.array(rows).T
    return true_size, own_size, scores, seconds


def mismatched_scores(pairs: list[Pair], find: Finder) -> np.ndarray:
    """Return the scores of templates in scenes of other sequences, scene by scene."""
    return np.concatenate([scores_of_others(pairs, i, find) for i in range(len(pairs))])


def scores_of_others(pairs: list[Pair], number: int, find: Finder) -> list[float]:
    """Return the scores of templates of other sequences in one scene."""
    scene, count = pairs[number].scene, len(pairs)
    steps = [1 + count * i // (MISMATCHED + 1) for i in range(MISMATCHED)]
    templates = [pairs[(number - step) % count].template for step in steps]
    return [
        find(scene, template)[1]
        for template in templates
        if template.shape[0] <= scene.shape[0] and template.shape[1] <= scene.shape[1]
    ]


def accuracy_table(pairs: list[Pair], weights: str, threshold: float) -> Table:
    """Measure every method on every pair."""
    finders: dict[str, Finder] = {
        "OpenCV, gray": opencv(gray=True),
        "OpenCV, RGB": opencv(gray=False),
        "QATM without votes, VGG-19": qatm_alone(TemplateMatcher(weights=weights).eval()),
    }
    kinds: dict[str, dict[str, str]] = {
        "handcrafted": {"features": "handcrafted"},
        "VGG-19": {"weights": weights},
    }
    for name, given in kinds.items():
        for score in SCORES:
            matcher = TemplateMatcher(**given, score=score, threshold=0.0, max_detections=1)
            finders[f"patchmatch, {name}, {score}"] = ours(matcher.eval())
    table = Table("method", "AUC, true size", "AUC, own size", "found and kept", "false alarms",
                  "the same, kept", "CPU s a pair", title=f"{len(pairs)} pairs")  # fmt: skip
    sequences = [pair.sequence for pair in pairs]
    for name, find in finders.items():
        true_size, own_size, scores, seconds = measure(pairs, find)
        cells = []
        for overlaps in (true_size, own_size):
            values = success(overlaps)
            low, high = interval(values, sequences)
            cells.append(f"{values.mean():.3f} ({low:.2f} to {high:.2f})")
        kept = alarms = answered = ""
        if name.startswith("patchmatch"):
            right = own_size > 0.3
            wrong = mismatched_scores(pairs, find)
            kept = f"{(scores[right] >= threshold).sum()} of {right.sum()}"
            alarms = f"{(wrong >= threshold).sum()} of {len(wrong)}"
            answered = f"{(success(own_size) * (scores >= threshold)).mean():.3f}"
        cells += [kept, alarms, answered, f"{seconds:.2f}"]
        table.add_row(name, *cells)
        Console(width=140, stderr=True).print(name, *cells)
    return table


def choose(pairs: list[Pair], weights: str) -> str:
    """Choose settings with one sequence left out each time, and measure on that one."""
    matcher = TemplateMatcher(weights=weights, threshold=0, max_detections=1).eval()
    scenes = [matcher.describe(to_rgb(pair.scene)[0]) for pair in pairs]
    templates = [to_rgb(pair.template)[0] for pair in pairs]
    values = []
    settings = list(product((15.0, 25.0, 40.0), (0.08, 0.12, 0.16), (0.2, 0.3)))
    for alpha, search_module.BLUR, search_module.REACH in settings:
        matcher.alpha = alpha
        boxes = [
            tuple(matcher.find(scene, template).boxes[0].tolist())
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
    fair = np.mean(left_out, axis=0)
    spread = table.mean(axis=2)
    best = spread.mean(axis=1).argmax()
    return (
        f"leave one sequence out among {len(settings)} settings: {fair[0]:.3f} true size, "
        f"{fair[1]:.3f} own size; best {settings[best]}: {spread[best].round(3).tolist()}; "
        f"range {spread.min(axis=0).round(3).tolist()} to {spread.max(axis=0).round(3).tolist()}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--weights", required=True, help="file with the weights of VGG-19")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--choose", action="store_true", help="leave one sequence out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    pairs = read_pairs(options.pairs)
    if options.choose:
        console.print(choose(pairs, options.weights))
        return
    console.print(time_layers())
    console.print(accuracy_table(pairs, options.weights, options.threshold))


if __name__ == "__main__":
    main()
