"""Accuracy of homographies before and after alignment on the images, on generated pairs.

python3 dev/benchmark_alignment.py [--matchers sift auto] [--pairs 16] [--seed 1]

Photographs of scikit-image and scikit-learn are warped by known homographies, with changes of
light, blur, noise and occluders at random. Three kinds of pairs: near (corners moved by up to a
quarter of the side, 30 degrees, half an octave), wide (any rotation, scales up to three) and tilt
(a tilted camera, 1.5 to 4.5). Prints the area under the recall curve of the mean corner error up to
3, 5 and 10 pixels of images scaled to 640 pixels, the median processor time, and that time against
matching without alignment.
"""

import argparse
import collections
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from match_real_pairs import CORNERS, scaled_error

from patchmatch.pairs.geometry import area_under_recall
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange
from patchmatch.pairs.synthetic_benchmark import warped_pair
from patchmatch.public.images import to_tensors
from patchmatch.public.pairs import load_pair_matcher
from patchmatch.synthetic.photographs import benchmark_photographs, load_rgb_image
from patchmatch.synthetic.photometry import jitter_photometry

SIDE, LONGEST = 384, 480  # pixels of near and wide pairs, and of the longest side of tilted ones
DISTURBED = 0.4  # probability of each photometric change and of an occluder
WARPS = {
    "near": WarpRange(corner_shift=0.25, turn=30, zoom=0.5, disturbed=DISTURBED),
    "wide": WarpRange(corner_shift=0.2, turn=180, zoom=1.6, disturbed=DISTURBED),
}
TILTS = (1.5, 4.5)
MATCHERS = ("sift", "asift", "homography_net")


@dataclass(frozen=True)
class Pair:
    """A generated pair: two images (H, W, 3) uint8 and the homography from image 0 to image 1."""

    image0: np.ndarray
    image1: np.ndarray
    homography: np.ndarray


def generated_pairs(kind: str, count: int, seed: int) -> Iterator[Pair]:
    """Yield pairs of a kind: near, wide or tilt."""
    images = [load_rgb_image(path, 1024) for path in benchmark_photographs()]
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        if kind in WARPS:
            pair = HomographyDataset(images, 1, 0, SIDE, WARPS[kind]).sample_pair(rng)
            image0, image1 = (np.rint(255 * view).astype(np.uint8) for view in pair.images)
            yield Pair(image0, image1, pair.homography)
            continue
        image = images[i % len(images)]
        scale = LONGEST / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image0, image1, homography = warped_pair(image, "tilt", float(rng.uniform(*TILTS)), i)
        changed = jitter_photometry(image1.astype(np.float32) / 255, DISTURBED, rng)
        yield Pair(image0, np.rint(255 * changed).astype(np.uint8), homography)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--matchers", nargs="+", default=[*MATCHERS, "auto"])
    parser.add_argument("--pairs", type=int, default=16, help="pairs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    console = Console(highlight=False, soft_wrap=True)
    kinds = (*WARPS, "tilt")
    table = Table("matcher", "align", *(f"{kind}: AUC@3/5/10" for kind in kinds), "CPU s", "ratio")
    for name in options.matchers:
        times: dict[bool, float] = {}
        for align in (True,) if name == "auto" else (False, True):
            matcher = load_pair_matcher(name, options={"align": align})
            cells, seconds, answers = [], [], collections.Counter()
            for kind in kinds:
                errors = []
                for pair in generated_pairs(kind, options.pairs, options.seed):
                    image0, image1 = pair.image0, pair.image1
                    tensors = to_tensors({"image0": image0, "image1": image1})
                    start = time.process_time()
                    found = matcher.match(*tensors)
                    seconds.append(time.process_time() - start)
                    errors.append(scaled_error(found.homography, pair.homography, image0, image1))
                    answers[found.matcher] += 1
                cells.append("/".join(f"{a:.2f}" for a in area_under_recall(errors, CORNERS)))
            times[align] = float(np.median(seconds))
            ratio = f"{times[align] / times[False]:.2f}" if False in times else "-"
            row = (name, "yes" if align else "no", *cells, f"{times[align]:.2f}", ratio)
            table.add_row(*row)
            named = {who: count for who, count in answers.items() if who is not None}
            console.print(*row, named or "")
    console.print(table)


if __name__ == "__main__":
    main()
