"""How much change does each matcher bear, and what does it cost? The pair tables of the docs.

python3 dev/benchmark_match.py [--output FOLDER] [--matchers sift asift loftr] [--pictures 4]
python3 dev/benchmark_match.py --speed
python3 dev/benchmark_match.py --flow FOLDER

Accuracy: photographs of scikit-image and scikit-learn are turned, reduced, tilted or darkened by a
known amount, with noise of two grey levels in both. Written are accuracy.csv and accuracy.png.
With --flow on pairs with known flow instead: FOLDER holds a folder for each, of two pictures, in
order, and a .flo.
Speed: seconds of processor time on one thread, the least of three, and peak memory, each in a
process of its own, beside the same work by plain OpenCV or kornia. Where there are no weights,
random ones are used for that, and for nothing else.
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
import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from match_directly import DIRECTLY, MOVED, give_random_weights, opencv_sift

from patchmatch.core.errors import InputError
from patchmatch.draw import shrink_to_fit
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_flo, read_image
from patchmatch.ops.homography import corner_error
from patchmatch.pairs.geometry import matching_accuracy
from patchmatch.pairs.results import Matches
from patchmatch.pairs.synthetic_benchmark import FACTORS, warped_pair
from patchmatch.public.pairs import MATCHERS, load_pair_matcher, match_images

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
    return [shrink_to_fit(picture, SIZE) for picture in found[:count]]


def prepared(names: Sequence[str], console: Console) -> dict[str, Callable[..., Matches]]:
    """Return the matchers that are at hand, and say which are not."""
    found: dict[str, Callable[..., Matches]] = {}
    for name in names:
        if name == PLAIN:
            found[name] = opencv_sift
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


def true_flow(names: Sequence[str], folder: Path) -> None:
    """Print how many matches each matcher finds and which share is within 2 px of the true flow."""
    console = Console(highlight=False)
    paths = sorted(folder.rglob("*.flo"))
    table = Table("matches, share within 2 px", *(path.parent.name for path in paths))
    for name, match in prepared(names, console).items():
        cells = []
        for path in paths:
            flow, known = read_flo(path)
            pictures = [p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
            images = [read_image(p) for p in sorted(pictures, key=lambda p: natural_key(p.name))]
            found = match(*images)
            x, y = found.keypoints0.round().long().numpy().T
            moved = (found.keypoints1 - found.keypoints0).numpy()[known[y, x]]
            error = np.linalg.norm(moved - flow[y, x][known[y, x]], axis=1)
            cells.append(f"{len(found)}, {(error < 2).mean():.2f}")
        table.add_row(name, *cells)
    console.print(table)


def one_pair(name: str, how: str, height: int, width: int, options: dict[str, object]) -> None:
    """Match one pair and print matches, seconds and peak memory beyond what was there before."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    picture = cv2.resize(photographs(1)[0], (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    picture = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    second = np.ascontiguousarray(picture[:, MOVED:])
    match = DIRECTLY[name][1] if how == "directly" else _ready(name, options)
    match(picture[:300, :300], second[:300, :300])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3 if height * width < 10**6 else 1):
        start = time.process_time()
        found = match(picture, second)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"{len(found)} {min(seconds):.2f} {peak / 1024**2:.2f}\n")


def _ready(name: str, options: dict[str, object]) -> Callable[..., Matches]:
    """Return a matcher that can be timed, with random weights where it has no others."""
    try:
        matcher = load_pair_matcher(name, options=options)
    except InputError as error:
        matcher = MATCHERS[name](**options).eval()
        if not give_random_weights(matcher):
            sys.exit(str(error))
    return lambda *images: match_images(*images, matcher)


def speed(names: Sequence[str], options: Sequence[str]) -> None:
    """Measure each matcher on a small and a large pair, in processes of their own."""
    console = Console(highlight=False)
    table = Table("matcher", "size", "matches", "CPU s", "GB", "directly", "CPU s", "GB", "ratio")
    for name in names:
        for height, width in LARGE:
            cells, seconds = [], []
            for how in ("ours", "directly"):
                if how == "directly":
                    cells.append(DIRECTLY[name][0] if name in DIRECTLY else "-")
                hours = (
                    name == "asift" and height * width > 10**6
                )  # OpenCV keeps all views' features
                if how == "directly" and (name not in DIRECTLY or options or hours):
                    cells += ["-", "-"]
                    continue
                arguments = ["--one_pair", name, how, str(height), str(width), "--with", *options]
                command = [sys.executable, __file__, *arguments]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                told = done.stdout.split()[-3:] or ["-", "-", "-"]  # killed for its memory
                seconds.append(float(told[1]) if told[1] != "-" else float("nan"))
                cells += told if how == "ours" else told[1:]
            ratio = f"{seconds[0] / seconds[1]:.2f}" if len(seconds) == 2 else "-"
            table.add_row(name, f"{width}x{height}", *cells, ratio)
            console.print(name, f"{width}x{height}", *cells, ratio)
    console.print(table)
    console.print("memory is beyond the two pictures; without weights, random ones were timed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [PLAIN, *MATCHERS]
    parser.add_argument("--matchers", nargs="+", choices=known, default=known)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("data/output/benchmark_match"))
    parser.add_argument("--speed", action="store_true", help="time and memory, not accuracy")
    parser.add_argument("--flow", type=Path, help="folder of pairs with true flow")
    parser.add_argument("--with", nargs="*", default=[], help="settings to time, max_size=null")
    parser.add_argument("--one_pair", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    settings = [text.partition("=") for text in vars(options)["with"]]
    if options.one_pair:
        name, how, height, width = options.one_pair
        values = {key: yaml.safe_load(value) for key, _, value in settings}
        one_pair(name, how, int(height), int(width), values)
    elif options.speed:
        names = [name for name in options.matchers if name != PLAIN]
        speed(names, vars(options)["with"])
    elif options.flow is not None:
        true_flow(options.matchers, options.flow)
    else:
        accuracy(options.matchers, options.pictures, options.output)


if __name__ == "__main__":
    main()
