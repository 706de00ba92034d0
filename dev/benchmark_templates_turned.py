"""Whether turned objects are found: the table of docs/benchmarks.md, "Templates", rotations.

python3 dev/benchmark_templates_turned.py --pairs FOLDER
python3 dev/benchmark_templates_turned.py --pairs FOLDER --weights vgg19.pth --every 4

Scenes are made: the template of each pair, as an ellipse, is turned and laid into the scene of
another sequence. It is found where the centre is right to a quarter of the root of its area.
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

from benchmark_templates import Pair, mismatched_scores, ours, read_pairs

from patchmatch.templates.matcher import TemplateMatcher

ANGLES = (0, 15, 30, 45, 90, 135, 180)  # degrees, counter-clockwise
SEARCHED = tuple(range(0, 360, 30))


def lay(template: np.ndarray, scene: np.ndarray, angle: float) -> np.ndarray:
    """Return a scene with a template turned about its middle, which lies in that of the scene."""
    height, width = template.shape[:2]
    rows, columns = scene.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    turn[:, 2] += (columns - width) / 2, (rows - height) / 2
    ellipse = np.zeros((height, width), np.float32)
    middle = ((width - 1) / 2, (height - 1) / 2)
    cv2.ellipse(ellipse, (middle, (width, height), 0), 1, -1)
    seen = cv2.warpAffine(ellipse, turn, (columns, rows))[..., None]
    over = cv2.warpAffine(
        template, turn, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.rint(seen * over + (1 - seen) * scene).astype(np.uint8)


def measure(pairs: list[Pair], matcher: TemplateMatcher) -> tuple[list[str], float]:
    """Return how many are found at each angle, and CPU seconds a search."""
    find, count = ours(matcher), len(pairs)
    cells, start = [], time.process_time()
    for angle in ANGLES:
        right = 0
        for i, pair in enumerate(pairs):
            other = pairs[(i + count // 2) % count].scene
            longest = int(np.hypot(*pair.template.shape[:2])) + 8
            short = min(other.shape[:2])
            if longest > short:  # the smallest scenes are enlarged
                other = cv2.resize(other, None, fx=longest / short, fy=longest / short)
            x0, y0, x1, y1 = find(lay(pair.template, other, angle), pair.template)[0]
            away = np.hypot(x0 + x1 - other.shape[1], y0 + y1 - other.shape[0]) / 2
            right += away < np.sqrt(np.prod(pair.template.shape[:2])) / 4
        cells.append(f"{right} of {count}")
    return cells, (time.process_time() - start) / count / len(ANGLES)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--weights", help="file with the weights of VGG-19")
    parser.add_argument("--every", type=int, default=1, help="take each Nth pair alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = read_pairs(options.pairs)[:: options.every]
    table = Table("", *(f"{angle} deg" for angle in ANGLES), "false alarms", "CPU s")
    kinds = {"handcrafted": {"features": "handcrafted"}}
    if options.weights:
        kinds = {"VGG-19": {"weights": options.weights}} | kinds
    for name, given in kinds.items():
        for rotations in ((0.0,), SEARCHED):
            matcher = TemplateMatcher(**given, rotations=rotations, max_detections=1).eval()
            cells, seconds = measure(pairs, matcher)
            wrong = mismatched_scores(pairs, ours(matcher))
            cells += [f"{(wrong > 0).sum()} of {len(wrong)}", f"{seconds:.2f}"]
            row = f"{name}, {len(rotations)} rotation{'s' * (len(rotations) > 1)}"
            table.add_row(row, *cells)
            Console(width=140, stderr=True).print(row, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
