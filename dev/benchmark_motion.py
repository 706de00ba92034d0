"""How well and how fast is motion measured? The motion tables of docs/benchmarks.md.

python3 dev/benchmark_motion.py --flow FOLDER [--also CHECKPOINT] [--scenes 12] [--repeats 15]
python3 dev/benchmark_motion.py --frames FOLDER --scenes 0

The FOLDER of --flow holds a folder for each pair: two pictures, in order, and the true flow (.flo).
That of --frames holds pictures of a fixed camera, in order, without truth: there it is measured how
much of what changed is explained by the motion that was found. Beside them scenes are made of the
photographs that scikit-image and scikit-learn carry, which the network has never seen. Every method
runs in this process, pair by pair in turn; the times are medians, in units of OpenCV's DIS
(medium). --also adds another checkpoint of MotionMatcher as a row.
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

from motion_peers import BLOCK, Method, peers, untimed

from patchmatch import load_motion_matcher, predict_frames
from patchmatch.io import IMAGE_SUFFIXES, read_flo, read_image, to_gray_float
from patchmatch.io.frames import list_folder
from patchmatch.motion.evaluation import left_over, score_motion, true_block_motion
from patchmatch.motion.layered_scenes import make_scene
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.motion.net import MotionNet
from patchmatch.synthetic.digits import load_digits, split_indices


class Pair(NamedTuple):
    """Two gray uint8 frames and the true motion of their blocks."""

    frame0: np.ndarray
    frame1: np.ndarray
    truth: np.ndarray


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder of folders."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        frames = read_frames(path.parent)
        if len(frames) != 2:
            raise SystemExit(f"{path.parent}: must hold two pictures, holds {len(frames)}")
        pairs.append(Pair(*frames, true_block_motion(*read_flo(path), BLOCK)))
    return pairs


def photographs() -> list[np.ndarray]:
    """Return the photographs that two libraries carry, gray in [0, 1]."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel", "moon")
    pictures = [getattr(data, name)() for name in (*names, "rocket")]
    return [to_gray_float(p) for p in (*pictures, *load_sample_images().images)]


def made_pairs(count: int) -> list[Pair]:
    """Return scenes of 640x640 pixels whose layers are photographs."""
    digits = load_digits("embedded", "data")
    outlines, pictures = digits[split_indices(len(digits), "test")], photographs()
    pairs = []
    for number in range(count):
        rng = np.random.default_rng((2, number))
        scene = make_scene(pictures, outlines, 640, rng, upright=True)
        frames = [f + rng.normal(0, 1 / 255, f.shape) for f in (scene.frame0, scene.frame1)]
        frames = [np.clip(np.rint(f * 255), 0, 255).astype(np.uint8) for f in frames]
        pairs.append(Pair(*frames, true_block_motion(scene.flow, scene.visible, BLOCK)))
    return pairs


def read_frames(folder: Path) -> list[np.ndarray]:
    """Return the gray uint8 frames of a folder, in natural order of their names."""
    paths = [p for p in list_folder(folder) if p.suffix.lower() in IMAGE_SUFFIXES]
    if len(paths) < 2:
        raise SystemExit(f"{folder}: must hold two pictures or more, holds {len(paths)}")
    return [np.rint(to_gray_float(read_image(path)) * 255).astype(np.uint8) for path in paths]


def network(matcher: MotionMatcher) -> Method:
    """Return a matcher as a method."""
    return lambda frame0, frame1: matcher.measure_motion(frame0, frame1, BLOCK).numpy()


def twin() -> MotionMatcher:
    """Return a matcher with formulas by hand in the place of its network."""
    matcher = MotionMatcher()
    matcher.net = MotionNet(learned=False)
    return matcher


TWIN = "its twin by hand"
CHANGED, MOVED = 10, 0.5  # grey levels in the mean of a block, and pixels: more than noise
DISTURBANCES: dict[str, Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]] = {
    "gain 1.4, offset -25": lambda f, _, later: f * 1.4 - 25 if later else f,
    "gain 0.7, offset +20": lambda f, _, later: f * 0.7 + 20 if later else f,
    "noise, sigma 8": lambda f, rng, _: f + rng.normal(0, 8, f.shape),
    "JPEG, quality 30": lambda f, *_: cv2.imdecode(
        cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE
    ),
    "blur of both, sigma 1.5": lambda f, *_: cv2.GaussianBlur(f, (0, 0), 1.5),
}  # fmt: skip


def disturbed(pairs: list[Pair], name: str) -> list[Pair]:
    """Return the pairs with both frames disturbed."""
    changed = []
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng((3, number))
        frames = [
            np.clip(np.rint(DISTURBANCES[name](frame, rng, bool(later))), 0, 255).astype(np.uint8)
            for later, frame in enumerate(pair[:2])
        ]
        changed.append(Pair(*frames, pair.truth))
    return changed


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--flow", type=Path, nargs="+", default=[], help="folders of pairs with true flow"
    )
    parser.add_argument("--also", action="append", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--scenes", type=int, default=12, help="made of photographs; 0 for none")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each method")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--frames", type=Path, nargs="+", default=[], help="folders of frames of a fixed camera"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    matchers = {TWIN: twin()}
    for given in options.also:
        name, _, path = given.rpartition("=")
        matchers[name or path] = load_motion_matcher(path, device="cpu").matcher
    matchers["patchmatch"] = load_motion_matcher(device="cpu").matcher
    methods = peers() | {name: network(matcher) for name, matcher in matchers.items()}
    console = Console(width=120)
    for folder in options.frames:
        console.print(explained(folder, methods, matchers))
    sets = {folder.name: read_pairs(folder) for folder in options.flow}
    if options.scenes:
        sets["scenes of photographs"] = made_pairs(options.scenes)
    seconds = measure_time(methods | peers(untimed), options.repeats) if sets else {}
    for title, pairs in sets.items():
        table = Table(
            "method",
            "EPE mean",
            "median",
            "< 0.5 px",
            "< 1 px",
            "macro-F1",
            "alone",
            "time, DIS = 1",
        )
        measured = {n: [method(*p[:2]) for p in pairs] for n, method in methods.items()}
        truths = [p.truth for p in pairs]
        for name, found in measured.items():
            s = score_motion(found, truths)
            table.add_row(
                name, f"{s.mean:.3f}", f"{s.median:.3f}", f"{s.within_half:.1%}",
                f"{s.within_one:.1%}", f"{100 * s.macro_f1:.1f}", f"{s.mean_alone:.2f}",
                f"{seconds[name] / seconds['DIS medium']:.2f}",
            )  # fmt: skip
        table.title = (
            f"{title}: {len(pairs)} pairs, {s.blocks} blocks of {BLOCK} pixels, of which {s.alone} "
            "move otherwise than most around them (alone: their EPE mean)"
        )
        console.print(table)
        console.print(difference(measured["patchmatch"], measured[TWIN], truths))
        table = Table("EPE mean / median", *methods, title=f"{title}, disturbed")
        for disturbance in DISTURBANCES:
            changed = disturbed(pairs, disturbance)
            scores = [
                score_motion([method(*p[:2]) for p in changed], [p.truth for p in changed])
                for method in methods.values()
            ]
            table.add_row(disturbance, *(f"{s.mean:.2f} / {s.median:.3f}" for s in scores))
        console.print(table)


def explained(
    folder: Path, methods: dict[str, Method], matchers: dict[str, MotionMatcher]
) -> Table:
    """Return how much of what changed between neighbouring frames each method explains."""
    frames = read_frames(folder)
    pairs = list(itertools.pairwise(frames))
    still = np.zeros((frames[0].shape[0] // BLOCK, frames[0].shape[1] // BLOCK, 2))
    at_rest = np.stack([left_over(*pair, still, BLOCK) for pair in pairs])
    changed = at_rest > CHANGED
    if not changed.any():
        raise SystemExit(f"{folder}: no block changes by more than {CHANGED} grey levels")
    table = Table(
        "method", "blocks that moved", "of those that changed", "left over", "told to be gone"
    )
    table.title = (
        f"{folder.name}: {len(pairs)} pairs, {changed.sum()} of {changed.size} blocks changed by "
        f"more than {CHANGED} grey levels, by {at_rest[changed].mean():.1f} in the mean"
    )
    for name, method in methods.items():
        found = np.stack([method(*pair) for pair in pairs])
        moved = np.linalg.norm(found, axis=-1) > MOVED
        left = np.stack([left_over(*p, m, BLOCK) for p, m in zip(pairs, found, strict=True)])
        gone = ""
        if name in matchers and name != TWIN:  # whose doubts have not learned
            told = [~c.matched for c in predict_frames(folder, matcher=matchers[name])]
            gone = str((torch.stack(told).numpy().reshape(changed.shape) & changed).sum())
        table.add_row(
            name,
            str(moved.sum()),
            str((moved & changed).sum()),
            f"{left[changed].mean():.1f}",
            gone,
        )
    return table


def difference(
    one: Sequence[np.ndarray], other: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> str:
    """Say by how much the errors of the learned network differ from its twin's, block by block.

    The interval is that of means over blocks drawn again with replacement.
    """
    errors = [
        np.concatenate(
            [np.linalg.norm(f - t, axis=-1).ravel() for f, t in zip(found, truths, strict=True)]
        )
        for found in (one, other)
    ]
    apart = errors[0] - errors[1]
    apart = apart[np.isfinite(apart)]
    rng = np.random.default_rng(4)
    means = [rng.choice(apart, len(apart)).mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return (
        f"patchmatch less its twin: {apart.mean():+.3f} px in the mean (95%: {low:+.3f} to "
        f"{high:+.3f}), nearer by more than 0.01 px in {(apart < -0.01).sum()} blocks, farther in "
        f"{(apart > 0.01).sum()}"
    )


def measure_time(methods: dict[str, Method], repeats: int) -> dict[str, float]:
    """Return the median seconds for a pair of 640x480 pixels, the methods taking turns.

    Every repeat has a scene of its own: what moves evenly takes the network less time.
    """
    times: dict[str, list[float]] = {name: [] for name in methods}
    for pair in made_pairs(repeats + 2):
        frames = [np.ascontiguousarray(frame[:480]) for frame in pair[:2]]
        for name, method in methods.items():
            start = time.perf_counter()
            method(*frames)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[2:]) for name, taken in times.items()}


if __name__ == "__main__":
    main()
