"""Benchmark template matching of rotated objects: docs/templates.md, "Rotated objects".

python3 dev/benchmark_templates_turned.py --pairs FOLDER
python3 dev/benchmark_templates_turned.py --pairs FOLDER --weights vgg19.pth --every 4

Scenes are synthetic: an ellipse of each pair's template is rotated and pasted into the scene of
another sequence. A detection is correct if the error of its centre is below a quarter of the square
root of the template's area.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_templates import Pair, all_mismatched_scores, detector_of, read_pairs

from patchmatch.templates.matcher import TemplateMatcher

ANGLES = (0, 15, 30, 45, 90, 135, 180)  # degrees, counter-clockwise
ROTATIONS = tuple(range(0, 360, 30))


def paste_rotated(template: np.ndarray, scene: np.ndarray, angle: float) -> np.ndarray:
    """Return a scene with an ellipse of the rotated template in its centre."""
    height, width = template.shape[:2]
    rows, columns = scene.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    matrix[:, 2] += (columns - width) / 2, (rows - height) / 2
    ellipse = np.zeros((height, width), np.float32)
    centre = ((width - 1) / 2, (height - 1) / 2)
    cv2.ellipse(ellipse, (centre, (width, height), 0), 1, -1)
    weight = cv2.warpAffine(ellipse, matrix, (columns, rows))[..., None]
    rotated = cv2.warpAffine(
        template, matrix, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.rint(weight * rotated + (1 - weight) * scene).astype(np.uint8)


def measure(pairs: list[Pair], matcher: TemplateMatcher) -> tuple[list[str], float]:
    """Return the correct detections at each angle, and CPU seconds per search."""
    find, count = detector_of(matcher), len(pairs)
    cells, start = [], time.process_time()
    for angle in ANGLES:
        correct = 0
        for i, pair in enumerate(pairs):
            other = pairs[(i + count // 2) % count].scene
            longest = int(np.hypot(*pair.template.shape[:2])) + 8
            short = min(other.shape[:2])
            if longest > short:  # enlarge scenes that are too small
                other = cv2.resize(other, None, fx=longest / short, fy=longest / short)
            x0, y0, x1, y1 = find(paste_rotated(pair.template, other, angle), pair.template)[0]
            error = np.hypot(x0 + x1 - other.shape[1], y0 + y1 - other.shape[0]) / 2
            correct += error < np.sqrt(np.prod(pair.template.shape[:2])) / 4
        cells.append(f"{correct} of {count}")
    return cells, (time.process_time() - start) / count / len(ANGLES)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--weights", help="file with the weights of VGG-19")
    parser.add_argument("--every", type=int, default=1, help="use each Nth pair only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = read_pairs(options.pairs)[:: options.every]
    table = Table("", *(f"{angle} deg" for angle in ANGLES), "false alarms", "CPU s")
    kinds = {"handcrafted": {"features": "handcrafted"}}
    if options.weights:
        kinds = {"VGG-19": {"weights": options.weights}} | kinds
    for name, given in kinds.items():
        for rotations in ((0.0,), ROTATIONS):
            matcher = TemplateMatcher(**given, rotations=rotations, max_detections=1).eval()
            cells, seconds = measure(pairs, matcher)
            wrong = all_mismatched_scores(pairs, detector_of(matcher))
            cells += [f"{(wrong > 0).sum()} of {len(wrong)}", f"{seconds:.2f}"]
            row = f"{name}, {len(rotations)} rotation{'s' * (len(rotations) > 1)}"
            table.add_row(row, *cells)
            Console(width=140, stderr=True).print(row, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
