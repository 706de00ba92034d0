"""Benchmark accuracy and speed of motion, of blocks and of pixels: the tables of docs/motion.md.

python3 dev/benchmark_motion.py --flow FOLDER [--also NAME=CHECKPOINT] [--scenes 12] [--repeats 15]
python3 dev/benchmark_motion.py --dense --flow FOLDER [--pictures FOLDER]
python3 dev/benchmark_motion.py --frames FOLDER --scenes 0

The FOLDER of --flow contains one folder per pair: two images, in order, and the true flow (.flo).
The FOLDER of --frames contains ordered images of a fixed camera without ground truth; its table is
the interpolation error of the blocks that changed. Synthetic scenes of photographs of scikit-image
and scikit-learn, none of them used in training, are evaluated in addition. Times are medians in
units of OpenCV's DIS (medium); the methods run alternately in this process. With --dense the tables
are those of the flow of every pixel, and --pictures draws it beside the truth.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motion_peers import BLOCK, Method, dense_flow, peers
from motion_pixels import (
    DensePair,
    degraded_dense_table,
    dense_methods,
    dense_table,
    dense_times,
    measured,
    read_dense_pairs,
    write_pictures,
)

from patchmatch import load_motion_matcher, measure_motion, predict_frames
from patchmatch.io import IMAGE_SUFFIXES, read_flo, read_image, to_gray_float
from patchmatch.io.frames import list_folder
from patchmatch.motion.evaluation import (
    evaluate_motion,
    interpolation_error,
    median_block_flow,
)
from patchmatch.motion.layered_scenes import make_scene
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.motion.net import MotionNet
from patchmatch.synthetic.digits import load_digits, split_indices


class Pair(NamedTuple):
    """Two gray uint8 frames and the true displacement of each block, (rows, columns, 2)."""

    frame0: np.ndarray
    frame1: np.ndarray
    truth: np.ndarray


def read_pairs(folder: Path) -> list[Pair]:
    """Read the pairs below a folder: each has a folder of two images and one .flo file."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        frames = read_frames(path.parent)
        if len(frames) != 2:
            raise SystemExit(f"{path.parent}: expected 2 images, got {len(frames)}")
        truth = median_block_flow(*read_flo(path), BLOCK)
        pairs.append(Pair(frame0=frames[0], frame1=frames[1], truth=truth))
    return pairs


def photographs() -> list[np.ndarray]:
    """Return photographs of scikit-image and scikit-learn, (H, W) gray in [0, 1]."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel", "moon")
    images = [getattr(data, name)() for name in (*names, "rocket")]
    return [to_gray_float(image) for image in (*images, *load_sample_images().images)]


def synthetic_pairs(count: int) -> list[Pair]:
    """Generate scenes of 640x640 pixels whose layers are photographs."""
    return [
        Pair(frame0=p.frame0, frame1=p.frame1, truth=median_block_flow(p.flow, p.valid, BLOCK))
        for p in dense_synthetic_pairs(count)
    ]


def dense_synthetic_pairs(count: int) -> list[DensePair]:
    """Generate the same scenes with the flow of every pixel, valid where it is visible."""
    digits = load_digits("embedded", "data")
    masks, textures = digits[split_indices(len(digits), "test")], photographs()
    pairs = []
    for number in range(count):
        rng = np.random.default_rng((2, number))
        scene = make_scene(textures, masks, 640, rng, upright=True)
        frames = [f + rng.normal(0, 1 / 255, f.shape) for f in (scene.frame0, scene.frame1)]
        frame0, frame1 = (to_uint8(255 * frame) for frame in frames)
        pairs.append(DensePair(f"scene {number}", frame0, frame1, scene.flow, scene.visible))
    return pairs


def to_uint8(levels: np.ndarray) -> np.ndarray:
    """Round and clip gray levels."""
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def read_frames(folder: Path) -> list[np.ndarray]:
    """Read the frames of a folder in natural order of their names, gray uint8."""
    paths = [p for p in list_folder(folder) if p.suffix.lower() in IMAGE_SUFFIXES]
    if len(paths) < 2:
        raise SystemExit(f"{folder}: expected at least 2 images, got {len(paths)}")
    return [to_uint8(255 * to_gray_float(read_image(path))) for path in paths]


def method_of(matcher: MotionMatcher) -> Method:
    """Return the function that measures motion with a matcher."""
    return lambda frame0, frame1: measure_motion(frame0, frame1, BLOCK, matcher=matcher).numpy()


def baseline() -> MotionMatcher:
    """Return a matcher with hand-crafted formulas instead of a network."""
    matcher = MotionMatcher()
    matcher.net = MotionNet(learned=False)
    return matcher


BASELINE = "hand-crafted baseline"
MIN_CHANGE = 10  # mean gray levels of a block that changed: more than noise
MIN_MOTION = 0.5  # pixels of displacement of a block that moved
DEGRADATIONS: dict[str, Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]] = {
    "gain 1.4, offset -25": lambda f, _, later: f * 1.4 - 25 if later else f,
    "gain 0.7, offset +20": lambda f, _, later: f * 0.7 + 20 if later else f,
    "noise, sigma 8": lambda f, rng, _: f + rng.normal(0, 8, f.shape),
    "JPEG, quality 30": lambda f, *_: cv2.imdecode(
        cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE
    ),
    "blur of both, sigma 1.5": lambda f, *_: cv2.GaussianBlur(f, (0, 0), 1.5),
}  # fmt: skip


def degraded(pairs: list[Pair], name: str) -> list[Pair]:
    """Return the pairs with a degradation applied to their frames."""
    results = []
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng((3, number))
        frame0, frame1 = (
            to_uint8(DEGRADATIONS[name](frame, rng, bool(later)))
            for later, frame in enumerate((pair.frame0, pair.frame1))
        )
        results.append(Pair(frame0=frame0, frame1=frame1, truth=pair.truth))
    return results


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--flow", type=Path, nargs="+", default=[], help="folders of pairs with true flow"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="another checkpoint of MotionMatcher to compare; may be duplicates",
    )
    parser.add_argument(
        "--scenes", type=int, default=12, help="number of synthetic scenes of photographs, or 0"
    )
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each method")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each method")
    parser.add_argument(
        "--frames", type=Path, nargs="+", default=[], help="folders of frames of a fixed camera"
    )
    parser.add_argument("--dense", action="store_true", help="measure the flow of every pixel")
    parser.add_argument(
        "--pictures", type=Path, help="with --dense: folder for images of the flow beside the truth"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    matchers = {BASELINE: baseline()}
    for option in options.also:
        name, _, path = option.rpartition("=")
        matchers[name or path] = load_motion_matcher(path, device="cpu").matcher
    matchers["patchmatch"] = load_motion_matcher(device="cpu").matcher
    if options.dense:
        print_dense(matchers, options)
        return
    methods = peers() | {name: method_of(matcher) for name, matcher in matchers.items()}
    console = Console(width=120)
    for folder in options.frames:
        console.print(fixed_camera_table(folder, methods, matchers))
    sets = {folder.name: read_pairs(folder) for folder in options.flow}
    if options.scenes:
        sets["synthetic scenes of photographs"] = synthetic_pairs(options.scenes)
    seconds = measure_time(methods | peers(dense_flow), options.repeats) if sets else {}
    for title, pairs in sets.items():
        table = Table(
            "method",
            "EPE mean",
            "median",
            "< 0.5 px",
            "< 1 px",
            "macro-F1",
            "isolated",
            "time, DIS = 1",
        )
        measured = {n: [method(*p[:2]) for p in pairs] for n, method in methods.items()}
        truths = [p.truth for p in pairs]
        for name, motions in measured.items():
            e = evaluate_motion(motions, truths)
            table.add_row(
                name, f"{e.mean:.3f}", f"{e.median:.3f}", f"{e.within_half:.1%}",
                f"{e.within_one:.1%}", f"{100 * e.macro_f1:.1f}", f"{e.mean_isolated:.2f}",
                f"{seconds[name] / seconds['DIS medium']:.2f}",
            )  # fmt: skip
        table.title = (
            f"{title}: {len(pairs)} pairs, {e.blocks} blocks of {BLOCK} pixels; {e.isolated} are "
            "isolated (they move differently from most neighbours), with their EPE mean"
        )
        console.print(table)
        console.print(difference(measured["patchmatch"], measured[BASELINE], truths))
        table = Table("EPE mean / median", *methods, title=f"{title}, degraded")
        for name in DEGRADATIONS:
            changed = degraded(pairs, name)
            errors = [
                evaluate_motion([method(*p[:2]) for p in changed], [p.truth for p in changed])
                for method in methods.values()
            ]
            table.add_row(name, *(f"{e.mean:.2f} / {e.median:.3f}" for e in errors))
        console.print(table)


def print_dense(matchers: dict[str, MotionMatcher], options: argparse.Namespace) -> None:
    """Print the tables of the flow of every pixel."""
    console, methods = Console(width=120), dense_methods(matchers)
    sets = {folder.name: read_dense_pairs(folder, read_frames) for folder in options.flow}
    if options.scenes:
        title = "synthetic scenes of photographs"
        sets[title] = dense_synthetic_pairs(options.scenes)
    for title, pairs in sets.items():
        flows = measured(methods, pairs)
        console.print(dense_table(title, pairs, flows))
        console.print(degraded_dense_table(title, pairs, methods, DEGRADATIONS))
        if options.pictures:
            write_pictures(options.pictures, pairs, flows)
    console.print(dense_times(methods, dense_synthetic_pairs(4), options.repeats))


def fixed_camera_table(
    folder: Path, methods: dict[str, Method], matchers: dict[str, MotionMatcher]
) -> Table:
    """Return the interpolation error of each method in the blocks that changed between frames."""
    frames = read_frames(folder)
    pairs = list(itertools.pairwise(frames))
    zero = np.zeros((frames[0].shape[0] // BLOCK, frames[0].shape[1] // BLOCK, 2))
    change = np.stack([interpolation_error(*pair, zero, BLOCK) for pair in pairs])
    changed = change > MIN_CHANGE
    if not changed.any():
        raise SystemExit(f"{folder}: no block changes by more than {MIN_CHANGE} gray levels")
    table = Table("method", "blocks that moved", "of those that changed", "error left", "unmatched")
    table.title = (
        f"{folder.name}: {len(pairs)} pairs, {changed.sum()} of {changed.size} blocks changed by "
        f"more than {MIN_CHANGE} gray levels, on average by {change[changed].mean():.1f}"
    )
    for name, method in methods.items():
        motions = np.stack([method(*pair) for pair in pairs])
        moved = np.linalg.norm(motions, axis=-1) > MIN_MOTION
        error = np.stack(
            [interpolation_error(*p, m, BLOCK) for p, m in zip(pairs, motions, strict=True)]
        )
        unmatched = ""
        if name in matchers and name != BASELINE:  # the confidence of the baseline is not trained
            flags = [~c.matched for c in predict_frames(folder, matcher=matchers[name])]
            unmatched = str((torch.stack(flags).numpy().reshape(changed.shape) & changed).sum())
        table.add_row(
            name,
            str(moved.sum()),
            str((moved & changed).sum()),
            f"{error[changed].mean():.1f}",
            unmatched,
        )
    return table


def difference(
    measured: Sequence[np.ndarray],
    of_baseline: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
) -> str:
    """Describe the difference of the errors of the network and the baseline, block by block.

    The confidence interval is a bootstrap over blocks.
    """
    errors = [
        np.concatenate(
            [np.linalg.norm(m - t, axis=-1).ravel() for m, t in zip(motions, truths, strict=True)]
        )
        for motions in (measured, of_baseline)
    ]
    change = errors[0] - errors[1]
    change = change[np.isfinite(change)]
    rng = np.random.default_rng(4)
    means = [rng.choice(change, len(change)).mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return (
        f"error of patchmatch minus baseline: mean {change.mean():+.3f} px (95% interval: "
        f"{low:+.3f} to {high:+.3f}); lower by more than 0.01 px in {(change < -0.01).sum()} "
        f"blocks, higher in {(change > 0.01).sum()}"
    )


def measure_time(methods: dict[str, Method], repeats: int) -> dict[str, float]:
    """Return the median seconds per pair of 640x480 pixels; the methods run alternately.

    Every repeat uses another scene, because the time of the network depends on the scene.
    """
    times: dict[str, list[float]] = {name: [] for name in methods}
    for pair in synthetic_pairs(repeats + 2):
        frames = [np.ascontiguousarray(frame[:480]) for frame in pair[:2]]
        for name, method in methods.items():
            start = time.perf_counter()
            method(*frames)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(runs[2:]) for name, runs in times.items()}


if __name__ == "__main__":
    main()
