"""How well and how fast is motion measured? The motion tables of docs/benchmarks.md.

python3 dev/benchmark_motion.py --flow FOLDER [--also CHECKPOINT] [--scenes 12] [--repeats 15]

FOLDER holds a folder for each pair: two pictures, in order, and the true flow (.flo). Beside it
scenes are made of the photographs that scikit-image and scikit-learn carry, which the network has
never seen. Every method runs in this process, pair by pair in turn; the times are medians, in units
of OpenCV's DIS (medium). --also adds another checkpoint of MotionMatcher as a row.
"""

import argparse
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

from patchmatch import load_motion_matcher
from patchmatch.data.digits import load_digits, split_indices
from patchmatch.data.layers import make_scene
from patchmatch.evaluation.motion import score_motion, true_block_motion
from patchmatch.io import IMAGE_SUFFIXES, read_flo, read_image, to_gray_float
from patchmatch.matchers import MotionMatcher
from patchmatch.nets import MotionNet

BLOCK = 32
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]  # gray uint8 frames to (rows, columns, 2)


class Pair(NamedTuple):
    """Two gray uint8 frames and the true motion of their blocks."""

    frame0: np.ndarray
    frame1: np.ndarray
    truth: np.ndarray


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder of folders."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        pictures = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(pictures) != 2:
            raise SystemExit(f"{path.parent}: must hold two pictures, holds {len(pictures)}")
        frames = [np.rint(to_gray_float(read_image(p)) * 255).astype(np.uint8) for p in pictures]
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


def medians(flow: np.ndarray) -> np.ndarray:
    """Return the median of a dense flow in every block."""
    return true_block_motion(flow, np.isfinite(flow).all(axis=-1), BLOCK)


def peers(reduce: Callable[[np.ndarray], np.ndarray] = medians) -> dict[str, Method]:
    """Return the methods of OpenCV; ``reduce`` makes block motion of a dense flow."""
    found: dict[str, Method] = {}
    for name, preset in (("medium", "MEDIUM"), ("fast", "FAST")):
        dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        found[f"DIS {name}"] = lambda a, b, dis=dis: reduce(dis.calc(a, b, None))
    found["Lucas-Kanade 31x31"] = lucas_kanade
    found["phase correlation"] = phase_correlation
    found["Farneback"] = lambda a, b: reduce(
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 3, 5, 1.2, 0)
    )
    return found


def lucas_kanade(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Track the centre of every block."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    x, y = np.meshgrid(np.arange(columns) * BLOCK + 15.5, np.arange(rows) * BLOCK + 15.5)
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float32)
    moved, _, _ = cv2.calcOpticalFlowPyrLK(
        frame0, frame1, points, None, winSize=(31, 31), maxLevel=4
    )
    return (moved - points).reshape(rows, columns, 2)


def phase_correlation(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Correlate windows of twice the block, their mean removed, under a Hann window."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    pads = ((BLOCK // 2, BLOCK // 2), (BLOCK // 2, BLOCK // 2))
    padded = [np.pad(f.astype(np.float32), pads, "edge") for f in (frame0, frame1)]
    hann = cv2.createHanningWindow((2 * BLOCK, 2 * BLOCK), cv2.CV_32F)
    found = np.zeros((rows, columns, 2))
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * BLOCK : (row + 2) * BLOCK, column * BLOCK : (column + 2) * BLOCK]
            windows = [p[place] - p[place].mean() for p in padded]
            found[row, column] = cv2.phaseCorrelate(*windows, hann)[0]
    return found


def network(matcher: MotionMatcher) -> Method:
    """Return a matcher as a method."""
    return lambda frame0, frame1: matcher.measure_motion(frame0, frame1, BLOCK).numpy()


def twin() -> MotionMatcher:
    """Return a matcher with formulas by hand in the place of its network."""
    matcher = MotionMatcher()
    matcher.net = MotionNet(learned=False)
    return matcher


TWIN = "its twin by hand"
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
    parser.add_argument("--scenes", type=int, default=12, help="scenes made of photographs")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each method")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    methods = peers()
    methods[TWIN] = network(twin())
    for given in options.also:
        name, _, path = given.rpartition("=")
        methods[name or path] = network(load_motion_matcher(path, device="cpu"))
    methods["patchmatch"] = network(load_motion_matcher(device="cpu"))
    sets = {folder.name: read_pairs(folder) for folder in options.flow}
    sets["scenes of photographs"] = made_pairs(options.scenes)
    seconds = measure_time(methods | peers(untimed), options.repeats)
    console = Console(width=120)
    for title, pairs in sets.items():
        table = Table(
            "method", "EPE mean", "median", "< 0.5 px", "< 1 px", "macro-F1", "time, DIS = 1"
        )
        measured = {n: [method(*p[:2]) for p in pairs] for n, method in methods.items()}
        truths = [p.truth for p in pairs]
        for name, found in measured.items():
            s = score_motion(found, truths)
            table.add_row(
                name, f"{s.mean:.3f}", f"{s.median:.3f}", f"{s.within_half:.1%}",
                f"{s.within_one:.1%}", f"{100 * s.macro_f1:.1f}",
                f"{seconds[name] / seconds['DIS medium']:.2f}",
            )  # fmt: skip
        table.title = f"{title}: {len(pairs)} pairs, {s.blocks} blocks of {BLOCK} pixels"
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


def untimed(flow: np.ndarray) -> np.ndarray:
    """Return the flow as it is: the medians over blocks do not count as the method's time."""
    return flow


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
