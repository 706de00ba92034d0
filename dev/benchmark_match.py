"""Benchmark of the pair matchers: accuracy under known changes, and cost.

python3 dev/benchmark_match.py [--output FOLDER] [--matchers sift asift loftr] [--pictures 4]
python3 dev/benchmark_match.py --speed
python3 dev/benchmark_match.py --flow FOLDER
python3 dev/benchmark_match.py --pairs FOLDER

Accuracy: photographs of scikit-image and scikit-learn are rotated, reduced, tilted or darkened by
a known amount, with noise in both images. Writes accuracy.csv and accuracy.png.
Flow: accuracy on pairs with ground-truth flow. FOLDER contains a folder for each pair, with two
images, in order, and a .flo file.
Pairs: accuracy, processor time and memory on real pairs. FOLDER contains benchmarks in their
original layouts (see patchmatch.pairs.benchmarks). A matcher may have options:
xfeat:check=lightglue,max_size=null. --resume keeps the matchers that real_pairs.csv contains,
--turn 90 turns the first image of every pair.
Speed: processor time on one thread (the minimum of three runs) and peak memory, each matcher in a
process of its own, compared with plain OpenCV or kornia. Networks without weights are timed with
random ones.
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

from match_peers import PEERS, SHIFT, opencv_sift, set_random_weights
from match_real_pairs import BASELINE, compare, measure_in_process, parse

from patchmatch.core.errors import InputError
from patchmatch.draw import shrink_to_fit
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_flo, read_image
from patchmatch.ops.homography import corner_error
from patchmatch.pairs.geometry import matching_accuracy
from patchmatch.pairs.results import Matches
from patchmatch.pairs.synthetic_benchmark import FACTORS, warped_pair
from patchmatch.public.pairs import MATCHERS, load_pair_matcher, match_images

MAX_CORNER_ERROR = 5.0  # pixels, of a correct homography
SIZE = 400  # longest side of the photographs in pixels
TIMED_SIZES = ((480, 640), (3000, 4000))
COLUMNS = ("matcher", "factor", "amount", "pairs", "right", "mma_3", "matches", "seconds")


def photographs(count: int) -> list[np.ndarray]:
    """Return bundled photographs, downscaled."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "coffee", "camera", "chelsea", "brick")
    found = [*load_sample_images().images, *(getattr(skimage.data, name)() for name in names)]
    return [shrink_to_fit(image, SIZE) for image in found[:count]]


def load_matchers(names: Sequence[str], console: Console) -> dict[str, Callable[..., Matches]]:
    """Return the matchers whose weights are available, and print the others."""
    found: dict[str, Callable[..., Matches]] = {}
    for name in names:
        if name == BASELINE:
            found[name] = opencv_sift
            continue
        try:
            matcher = load_pair_matcher(name)
        except InputError as error:
            console.print(f"{name} is skipped: {error}")
            continue
        found[name] = lambda *images, matcher=matcher: match_images(*images, matcher)
    return found


def measure(
    match: Callable[..., Matches], images: Sequence[np.ndarray], factor: str, amount: float
) -> dict[str, float]:
    """Return the mean metrics of a matcher at one amount of one factor."""
    correct, accuracy, matches, seconds = [], [], [], []
    for seed, image in enumerate(images):
        image0, image1, truth = warped_pair(image, factor, amount, seed)
        start = time.process_time()
        found = match(image0, image1)
        seconds.append(time.process_time() - start)
        error = float("inf")
        if found.homography is not None:
            height, width = image.shape[:2]
            error = corner_error(found.homography, torch.from_numpy(truth), height, width)
        points = found.keypoints0.numpy(), found.keypoints1.numpy()
        correct.append(error < MAX_CORNER_ERROR)
        accuracy.append(matching_accuracy(*points, truth, [3])[0])
        matches.append(len(found))
    means = [float(np.mean(values)) for values in (correct, accuracy, matches, seconds)]
    names = ("right", "mma_3", "matches", "seconds")
    return {"pairs": len(images), **dict(zip(names, means, strict=True))}


def accuracy(
    names: Sequence[str], count: int, folder: Path, factors: dict[str, tuple[float, ...]] = FACTORS
) -> list[dict[str, object]]:
    """Measure all matchers and factors, print the tables, write accuracy.csv and accuracy.png."""
    console = Console(highlight=False)
    images = photographs(count)
    matchers = load_matchers(names, console)
    rows: list[dict[str, object]] = []
    for factor, amounts in factors.items():
        title = f"{factor}: % of homographies with corner error < {MAX_CORNER_ERROR:g} px"
        table = Table(title=f"{title} | MMA at 3 px")
        table.add_column("matcher")
        for amount in amounts:
            table.add_column(f"{amount:g}", justify="right")
        for name, match in matchers.items():
            cells = []
            for amount in amounts:
                row = measure(match, images, factor, amount)
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
    console.print(f"table and plot in {folder}")
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
            curve = [row for row in rows if (row["matcher"], row["factor"]) == (name, factor)]
            axes.plot(
                [r["amount"] for r in curve], [r["mma_3"] for r in curve], marker="o", label=name
            )
        axes.set(title=factor, ylim=(-0.02, 1.02), ylabel="matches within 3 px")
        axes.grid(alpha=0.3)
        if factor == "light":
            axes.invert_xaxis()
    figure.axes[0].legend()
    figure.savefig(path)


def true_flow(names: Sequence[str], folder: Path) -> None:
    """Print the number of matches and the share within 2 px of the ground-truth flow."""
    console = Console(highlight=False)
    paths = sorted(folder.rglob("*.flo"))
    table = Table("matches, share within 2 px", *(path.parent.name for path in paths))
    for name, match in load_matchers(names, console).items():
        cells = []
        for path in paths:
            flow, known = read_flo(path)
            files = [p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
            images = [read_image(p) for p in sorted(files, key=lambda p: natural_key(p.name))]
            found = match(*images)
            x, y = found.keypoints0.round().long().numpy().T
            displacement = (found.keypoints1 - found.keypoints0).numpy()[known[y, x]]
            error = np.linalg.norm(displacement - flow[y, x][known[y, x]], axis=1)
            cells.append(f"{len(found)}, {(error < 2).mean():.2f}")
        table.add_row(name, *cells)
    console.print(table)


def time_pair(name: str, how: str, height: int, width: int, options: dict[str, object]) -> None:
    """Match one pair, and print the number of matches, seconds and additional peak memory."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    image0 = cv2.resize(photographs(1)[0], (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    image0 = np.clip(image0 + rng.normal(0, 4, image0.shape), 0, 255).astype(np.uint8)
    image1 = np.ascontiguousarray(image0[:, SHIFT:])
    match = PEERS[name][1] if how == "library" else _load_for_timing(name, options)
    match(image0[:300, :300], image1[:300, :300])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3 if height * width < 10**6 else 1):
        start = time.process_time()
        found = match(image0, image1)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"{len(found)} {min(seconds):.2f} {peak / 1024**2:.2f}\n")


def _load_for_timing(name: str, options: dict[str, object]) -> Callable[..., Matches]:
    """Return a matcher, with random weights if its own are not available."""
    try:
        matcher = load_pair_matcher(name, options=options)
    except InputError as error:
        matcher = MATCHERS[name](**options).eval()
        if not set_random_weights(matcher):
            sys.exit(str(error))
    return lambda *images: match_images(*images, matcher)


def speed(names: Sequence[str], options: Sequence[str]) -> None:
    """Time each matcher on a small and a large pair, in processes of their own."""
    console = Console(highlight=False)
    table = Table("matcher", "size", "matches", "CPU s", "GB", "library", "CPU s", "GB", "ratio")
    for name in names:
        for height, width in TIMED_SIZES:
            cells, seconds = [], []
            for how in ("ours", "library"):
                if how == "library":
                    cells.append(PEERS[name][0] if name in PEERS else "-")
                # OpenCV compares the features of all views, which takes hours
                too_slow = name == "asift" and height * width > 10**6
                if how == "library" and (name not in PEERS or options or too_slow):
                    cells += ["-", "-"]
                    continue
                arguments = ["--one_pair", name, how, str(height), str(width), "--with", *options]
                command = [sys.executable, __file__, *arguments]
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                # no output if the process was killed for its memory
                values = run.stdout.split()[-3:] or ["-", "-", "-"]
                seconds.append(float(values[1]) if values[1] != "-" else float("nan"))
                cells += values if how == "ours" else values[1:]
            ratio = f"{seconds[0] / seconds[1]:.2f}" if len(seconds) == 2 else "-"
            table.add_row(name, f"{width}x{height}", *cells, ratio)
            console.print(name, f"{width}x{height}", *cells, ratio)
    console.print(table)
    console.print("memory: without that of the images; networks without weights: random weights")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark that the options select."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [BASELINE, *MATCHERS]
    parser.add_argument("--matchers", nargs="+", default=known)
    parser.add_argument("--pictures", type=int, default=4, help="number of photographs")
    parser.add_argument("--output", type=Path, default=Path("data/output/benchmark_match"))
    parser.add_argument(
        "--speed", action="store_true", help="measure time and memory, not accuracy"
    )
    parser.add_argument("--flow", type=Path, help="folder of pairs with ground-truth flow")
    parser.add_argument("--pairs", type=Path, help="folder of benchmarks of real pairs")
    parser.add_argument("--turn", type=float, default=0.0, help="degrees, of image 0 of real pairs")
    parser.add_argument(
        "--resume", action="store_true", help="keep the matchers that real_pairs.csv contains"
    )
    parser.add_argument(
        "--with", nargs="*", default=[], help="options of the timed matchers, such as max_size=null"
    )
    parser.add_argument("--one_pair", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--one_matcher", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        names = [parse(text)[0] for text in options.matchers]
    except InputError as error:
        parser.error(str(error))
    settings = [text.partition("=") for text in vars(options)["with"]]
    if options.one_pair:
        name, how, height, width = options.one_pair
        values = {key: yaml.safe_load(value) for key, _, value in settings}
        time_pair(name, how, int(height), int(width), values)
    elif options.one_matcher:
        measure_in_process(options.one_matcher, options.pairs, options.turn)
    elif options.pairs is not None:
        compare(options.matchers, options.pairs, options.output, options.resume, options.turn)
    elif options.speed:
        speed([name for name in names if name != BASELINE], vars(options)["with"])
    elif options.flow is not None:
        true_flow(names, options.flow)
    else:
        accuracy(names, options.pictures, options.output)


if __name__ == "__main__":
    main()
