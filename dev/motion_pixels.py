"""The tables of benchmark_motion.py for the flow of every pixel."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from motion_peers import dense_flow, peers
from rich.table import Table

from patchmatch import measure_flow, measure_motion
from patchmatch.draw import draw_flow, montage
from patchmatch.io import read_flo, write_image
from patchmatch.motion.dense import BLOCK
from patchmatch.motion.evaluation import near_motion_boundaries
from patchmatch.motion.matcher import MotionMatcher

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]  # gray uint8 frames to (H, W, 2)
Degradation = Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]
PEERS = "DIS medium", "DIS fast", "Farneback"
OURS, BLOCKS = "patchmatch", f"blocks of {BLOCK}"


class DensePair(NamedTuple):
    """Two gray uint8 frames, their true flow (H, W, 2), and where it is known (H, W) bool."""

    name: str
    frame0: np.ndarray
    frame1: np.ndarray
    flow: np.ndarray
    valid: np.ndarray


def read_dense_pairs(
    folder: Path, read_frames: Callable[[Path], list[np.ndarray]]
) -> list[DensePair]:
    """Read the pairs below a folder: each has a folder of two images and one .flo file."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        frames = read_frames(path.parent)
        if len(frames) != 2:
            raise SystemExit(f"{path.parent}: expected 2 images, got {len(frames)}")
        pairs.append(DensePair(path.parent.name, frames[0], frames[1], *read_flo(path)))
    return pairs


def dense_methods(matchers: dict[str, MotionMatcher]) -> dict[str, Method]:
    """Return the methods by name; ``matchers`` contains the shipped one as ``patchmatch``."""
    known = peers(dense_flow)
    methods = {name: known[name] for name in PEERS}
    methods[BLOCKS] = lambda a, b: flow_of_blocks(
        measure_motion(a, b, BLOCK, matcher=matchers[OURS]).numpy(), *a.shape
    )
    for name, matcher in matchers.items():
        methods[name] = lambda a, b, m=matcher: np.moveaxis(
            measure_flow(a, b, matcher=m).flow.numpy(), 0, 2
        )
    return methods


def flow_of_blocks(motion: np.ndarray, height: int, width: int) -> np.ndarray:
    """Give every pixel the displacement of its block, or of the nearest one, (H, W, 2)."""
    row, column = (
        np.minimum(np.arange(side) // BLOCK, count - 1)
        for side, count in zip((height, width), motion.shape, strict=False)
    )
    return motion[row[:, None], column]


def dense_table(title: str, pairs: list[DensePair], flows: dict[str, list[np.ndarray]]) -> Table:
    """Return the endpoint errors of every pair: of all pixels, and near motion boundaries."""
    table = Table("EPE, near boundaries", *flows, title=f"{title}, every pixel")
    means: dict[str, list[tuple[float, float]]] = {name: [] for name in flows}
    for number, pair in enumerate(pairs):
        near = near_motion_boundaries(pair.flow, pair.valid)
        cells = []
        for name, found in flows.items():
            error = np.linalg.norm(found[number] - pair.flow, axis=-1)
            at_edges = float(error[near].mean()) if near.any() else float("nan")
            means[name].append((float(error[pair.valid].mean()), at_edges))
            cells.append("{:.3f}, {:.2f}".format(*means[name][-1]))
        table.add_row(pair.name, *cells)
    cells = ("{:.3f}, {:.2f}".format(*np.nanmean(values, axis=0)) for values in means.values())
    table.add_row("mean of the pairs", *cells)
    return table


def degraded_dense_table(
    title: str,
    pairs: list[DensePair],
    methods: dict[str, Method],
    degradations: dict[str, Degradation],
) -> Table:
    """Return the mean endpoint errors of pairs whose frames are degraded."""
    table = Table("EPE, near boundaries", *methods, title=f"{title}, every pixel, degraded")
    for label, degrade in degradations.items():
        errors: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
        for number, pair in enumerate(pairs):
            rng = np.random.default_rng((3, number))
            frames = [
                np.clip(np.rint(degrade(frame, rng, bool(later))), 0, 255).astype(np.uint8)
                for later, frame in enumerate((pair.frame0, pair.frame1))
            ]
            near = near_motion_boundaries(pair.flow, pair.valid)
            for name, method in methods.items():
                error = np.linalg.norm(method(*frames) - pair.flow, axis=-1)
                at_edges = float(error[near].mean()) if near.any() else float("nan")
                errors[name].append((float(error[pair.valid].mean()), at_edges))
        table.add_row(
            label, *("{:.3f}, {:.2f}".format(*np.nanmean(e, axis=0)) for e in errors.values())
        )
    return table


def dense_times(methods: dict[str, Method], pairs: list[DensePair], repeats: int) -> Table:
    """Return the times in units of DIS medium; the methods run alternately on every pair.

    The median is over the ratios to DIS medium of the same round, which a busy machine delays
    alike. Processor time is that of all threads.
    """
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for number in range(repeats + 2):
        pair = pairs[number % len(pairs)]
        frames = [np.ascontiguousarray(frame[:480, :640]) for frame in pair[1:3]]
        spent = {}
        for name, method in methods.items():
            start = time.perf_counter(), time.process_time()
            method(*frames)
            spent[name] = time.perf_counter() - start[0], time.process_time() - start[1]
        for name, (wall, processor) in spent.items():
            unit = spent[PEERS[0]]
            ratios[name].append((wall / unit[0], processor / unit[1]))
    table = Table("time, DIS medium = 1", *methods, title="time of the flow of every pixel")
    for row, label in enumerate(("wall", "processor")):
        medians = (statistics.median(r[row] for r in runs[2:]) for runs in ratios.values())
        table.add_row(label, *(f"{ratio:.2f}" for ratio in medians))
    return table


def write_pictures(
    folder: Path, pairs: list[DensePair], flows: dict[str, list[np.ndarray]]
) -> None:
    """Draw the true flow of every pair beside that of each method, NAME.png in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pair in enumerate(pairs):
        limit = max(1.0, float(np.percentile(np.linalg.norm(pair.flow, axis=-1)[pair.valid], 99)))
        shown = {"truth": (pair.flow, pair.valid)}
        shown |= {name: (f[number], np.ones_like(pair.valid)) for name, f in flows.items()}
        images = [draw_flow(pair.frame0, *each, limit) for each in shown.values()]
        picture = montage(images, columns=2, gap=8, captions=list(shown))
        write_image(folder / f"{pair.name}.png", picture)


def measured(methods: dict[str, Method], pairs: list[DensePair]) -> dict[str, list[np.ndarray]]:
    """Return the flow of every pair by every method."""
    return {name: [method(p.frame0, p.frame1) for p in pairs] for name, method in methods.items()}
