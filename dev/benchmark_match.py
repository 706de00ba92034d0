"""How much change does each matcher bear, and what does it cost? The pair tables of the docs.

python3 dev/benchmark_match.py [--output FOLDER] [--matchers sift asift loftr] [--pictures 4]
python3 dev/benchmark_match.py --speed

Accuracy: photographs of scikit-image and scikit-learn are turned, reduced, tilted or darkened by a
known amount, with noise of two grey levels in both. Written are accuracy.csv and accuracy.png.
Speed: seconds of processor time on one thread and peak memory, each in a process of its own, beside
the same work by plain OpenCV.
"""

import argparse
import csv
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.draw import fit
from patchmatch.errors import InputError
from patchmatch.evaluation.geometry import estimate_homography, matching_accuracy
from patchmatch.evaluation.synthetic import FACTORS, warped_pair
from patchmatch.ops import corner_error
from patchmatch.public.pairs import MATCHERS, load_pair_matcher, match_images
from patchmatch.results import Matches

PLAIN = "OpenCV"
RIGHT = 5.0  # pixels: a homography counts whose corners err by less
SIZE = 400  # pixels of the longer side
LARGE = ((480, 640), (3000, 4000))
COLUMNS = ("matcher", "factor", "amount", "pairs", "right", "mma_3", "matches", "seconds")


def photographs(count: int) -> list[np.ndarray]:
    """Return bundled photographs, reduced."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "coffee", "camera", "chelsea", "brick")
    found = [*load_sample_images().images, *(getattr(skimage.data, name)() for name in names)]
    return [fit(picture, SIZE) for picture in found[:count]]


def plain_sift(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Match as OpenCV's tutorial does: SIFT, brute force, ratio test of 0.8."""
    sift = cv2.SIFT.create()
    grays = [
        im if im.ndim == 2 else cv2.cvtColor(im, cv2.COLOR_RGB2GRAY) for im in (image0, image1)
    ]
    (keypoints0, values0), (keypoints1, values1) = (sift.detectAndCompute(g, None) for g in grays)
    good = []
    if values0 is not None and values1 is not None and len(values1) > 1:
        couples = cv2.BFMatcher().knnMatch(values0, values1, k=2)
        good = [first for first, second in couples if first.distance < 0.8 * second.distance]
    points0 = torch.tensor([keypoints0[m.queryIdx].pt for m in good]).reshape(-1, 2)
    points1 = torch.tensor([keypoints1[m.trainIdx].pt for m in good]).reshape(-1, 2)
    found = estimate_homography(points0.numpy(), points1.numpy())
    homography = None if found.model is None else torch.from_numpy(found.model)
    return Matches(points0, points1, torch.ones(len(good)), homography=homography)


def prepared(names: Sequence[str], console: Console) -> dict[str, Callable[..., Matches]]:
    """Return the matchers that are at hand, and say which are not."""
    found: dict[str, Callable[..., Matches]] = {}
    for name in names:
        if name == PLAIN:
            found[name] = plain_sift
            continue
        try:
            matcher = load_pair_matcher(name)
        except InputError as error:
            console.print(f"{name} is left out: {error}")
            continue
        found[name] = lambda *images, matcher=matcher: match_images(*images, matcher)
    return found


def measure(
    match: Callable[..., Matches], pictures: Sequence[np.ndarray], factor: str, amount: float
) -> dict[str, float]:
    """Return how a matcher does at one amount of one factor."""
    right, accuracy, matches, seconds = [], [], [], []
    for seed, picture in enumerate(pictures):
        image0, image1, truth = warped_pair(picture, factor, amount, seed)
        start = time.process_time()
        found = match(image0, image1)
        seconds.append(time.process_time() - start)
        error = float("inf")
        if found.homography is not None:
            height, width = picture.shape[:2]
            error = corner_error(found.homography, torch.from_numpy(truth), height, width)
        points = found.keypoints0.numpy(), found.keypoints1.numpy()
        right.append(error < RIGHT)
        accuracy.append(matching_accuracy(*points, truth, [3])[0])
        matches.append(len(found))
    means = [float(np.mean(values)) for values in (right, accuracy, matches, seconds)]
    names = ("right", "mma_3", "matches", "seconds")
    return {"pairs": len(pictures), **dict(zip(names, means, strict=True))}


def accuracy(
    names: Sequence[str], count: int, folder: Path, factors: dict[str, tuple[float, ...]] = FACTORS
) -> list[dict[str, object]]:
    """Measure all matchers over all factors; print, write accuracy.csv and accuracy.png."""
    console = Console(highlight=False)
    pictures = photographs(count)
    matchers = prepared(names, console)
    rows: list[dict[str, object]] = []
    for factor, amounts in factors.items():
        table = Table(title=f"{factor}: homographies right to {RIGHT:g} px | MMA at 3 px")
        table.add_column("matcher")
        for amount in amounts:
            table.add_column(f"{amount:g}", justify="right")
        for name, match in matchers.items():
            cells = []
            for amount in amounts:
                row = measure(match, pictures, factor, amount)
                rows.append({"matcher": name, "factor": factor, "amount": amount, **row})
                cells.append(f"{100 * row['right']:.0f} | {row['mma_3']:.2f}")
            table.add_row(name, *cells)
        console.print(table)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "accuracy.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, folder / "accuracy.png")
    console.print(f"table and curves in {folder}")
    return rows


def plot(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Plot the accuracy of each matcher against each factor."""
    from matplotlib.figure import Figure

    factors = list(dict.fromkeys(str(row["factor"]) for row in rows))
    figure = Figure(figsize=(4 * len(factors), 3.4), dpi=100, layout="constrained")
    for axes, factor in zip(
        figure.subplots(1, len(factors), squeeze=False)[0], factors, strict=True
    ):
        for name in dict.fromkeys(str(row["matcher"]) for row in rows):
            mine = [row for row in rows if (row["matcher"], row["factor"]) == (name, factor)]
            axes.plot(
                [r["amount"] for r in mine], [r["mma_3"] for r in mine], marker="o", label=name
            )
        axes.set(title=factor, ylim=(-0.02, 1.02), ylabel="matches right to 3 px")
        axes.grid(alpha=0.3)
        if factor == "light":
            axes.invert_xaxis()
    figure.axes[0].legend()
    figure.savefig(path)


def one_pair(name: str, height: int, width: int) -> None:
    """Match one pair and print seconds and peak memory beyond what was there before."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    picture = cv2.resize(photographs(1)[0], (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    picture = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    match = prepared([name], Console(stderr=True)).get(name)
    if match is None:
        return
    match(picture[:100, :100], picture[:100, :100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = match(picture, np.ascontiguousarray(picture[:, 10:]))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"{len(found)} {seconds:.2f} {peak / 1024**2:.2f}\n")


def speed(names: Sequence[str]) -> None:
    """Measure each matcher on a small and a large pair, in processes of their own."""
    table = Table("matcher", "size", "matches", "CPU s", "peak GB beyond the pictures")
    for name in names:
        for height, width in LARGE:
            command = [sys.executable, __file__, "--one_pair", name, str(height), str(width)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            cells = done.stdout.split() or ["-", "-", "-"]
            table.add_row(name, f"{width}x{height}", *cells)
    Console(highlight=False).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [PLAIN, *MATCHERS]
    parser.add_argument("--matchers", nargs="+", choices=known, default=known)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("data/output/benchmark_match"))
    parser.add_argument("--speed", action="store_true", help="time and memory, not accuracy")
    parser.add_argument("--one_pair", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one_pair:
        name, height, width = options.one_pair
        one_pair(name, int(height), int(width))
    elif options.speed:
        speed(options.matchers)
    else:
        accuracy(options.matchers, options.pictures, options.output)


if __name__ == "__main__":
    main()
