"""How near to exact and how fast are nearest-neighbour fields? The tables of docs/benchmarks.md.

python3 dev/benchmark_nnf.py --pairs FOLDER [--full] [--memory] [--without exact ...]

FOLDER holds image_1/ and image_2/, whose pictures are paired by sorted name. Patches are 7x7 RGB,
wholly inside; pictures are shrunk to 320 pixels on the longer side, with --full they are taken as
they are. Beside them come pairs made of scikit-image's photographs. Every method runs in this
process on one thread; times are CPU seconds. numba and faiss are rows where they are installed.
Memory is what a fresh process grows by at the peak of each row, torch and the images loaded before;
the largest of the pairs, on Linux.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch, numba and faiss are loaded

import argparse
import importlib.util
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnf_peers import PATCH, Method, inverted_lists, scanline_patch_match

from patchmatch.io import IMAGE_SUFFIXES, read_image, to_rgb_uint8
from patchmatch.nnf.search import exact_field, nearest_neighbours, patch_match
from patchmatch.nnf.voting import vote

SHORT = 320  # pixels of the longer side


class Pair(NamedTuple):
    """Two images (1, 3, H, W) of which the first is looked for in the second."""

    name: str
    image0: Tensor
    image1: Tensor


def as_image(picture: np.ndarray, longest: int | None) -> Tensor:
    """Return a picture as (1, 3, H, W), shrunk to ``longest`` pixels on the longer side."""
    if longest is not None:
        scale = longest / max(picture.shape[:2])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        picture = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, 0)[None].float() / 255


def read_pairs(folder: Path, longest: int | None) -> list[Pair]:
    """Return the pairs of a folder."""
    sides = [
        sorted(p for p in (folder / side).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        for side in ("image_1", "image_2")
    ]
    if len(sides[0]) != len(sides[1]):
        raise SystemExit(
            f"{folder}: image_1 holds {len(sides[0])} pictures, image_2 {len(sides[1])}"
        )
    return [
        Pair(paths[0].stem, *(as_image(to_rgb_uint8(read_image(p)), longest) for p in paths))
        for paths in zip(*sides, strict=True)
    ]


def made_pairs(longest: int | None) -> list[Pair]:
    """Return pairs of parts of photographs that overlap, one of them turned and one blurred."""
    from skimage import data

    astronaut, coffee, cat, rocket = data.astronaut(), data.coffee(), data.cat(), data.rocket()
    turn = cv2.getRotationMatrix2D((300, 200), 8, 1.1)
    turned = cv2.warpAffine(coffee, turn, (600, 400), borderMode=cv2.BORDER_REFLECT)
    sides = {
        "astronaut": (astronaut[:400, :420], astronaut[80:, 60:]),
        "coffee": (coffee, turned),
        "cat": (cat[:, :360], cat[:, 90:]),
        "rocket": (rocket[:380], cv2.GaussianBlur(rocket[40:, 40:], (0, 0), 1)),
    }
    return [Pair(k, *(as_image(picture, longest) for picture in v)) for k, v in sides.items()]


def last_flow(search: Callable[..., Any], **options: Any) -> Method:
    """Return a search of ours as a method."""

    def find(image0: Tensor, image1: Tensor) -> Tensor:
        *_, field = search(image0, image1, PATCH, **options)
        return field.flow[:, 0]

    return find


def methods(without: list[str]) -> dict[str, Method]:
    """Return the rows of the tables, except those whose name begins with one of ``without``."""
    found: dict[str, Method] = {}
    for rounds in (5, 10, 20):
        found[f"PatchMatch, {rounds} iterations"] = last_flow(patch_match, iterations=rounds)
    if importlib.util.find_spec("numba") is not None:
        for rounds in (5, 10, 20):
            found[f"numba PatchMatch, {rounds} iterations"] = scanline_patch_match(rounds)
    for preset in ("fast", "balanced", "accurate"):
        found[f"preset {preset}"] = last_flow(nearest_neighbours, preset=preset)
    if importlib.util.find_spec("faiss") is not None:
        found["faiss, 32 components, lists"] = inverted_lists
    found["exact"] = lambda a, b: exact_field(a, b, PATCH).flow[:, 0]
    return {k: v for k, v in found.items() if not any(k.startswith(name) for name in without)}


def mean_cost(pair: Pair, flow: Tensor) -> float:
    """Return the mean squared difference of the patches, each summed."""
    inside = flow[0, :, PATCH // 2 :, PATCH // 2 :]
    height, width = (n - PATCH + 1 for n in pair.image0.shape[-2:])
    y = torch.arange(height)[:, None] + inside[1, :height, :width]
    x = torch.arange(width) + inside[0, :height, :width]
    total = 0.0
    for dy in range(PATCH):
        for dx in range(PATCH):
            there = pair.image1[0][:, y + dy, x + dx]
            here = pair.image0[0, :, dy : dy + height, dx : dx + width]
            total += (there - here).square().sum(dim=0).mean().item()
    return total


def psnr(pair: Pair, flow: Tensor) -> float:
    """Return how well image 0 is rebuilt by voting, in decibels."""
    return -10 * math.log10(
        max((vote(pair.image1, flow, PATCH) - pair.image0).square().mean(), 1e-10)
    )


def measure(method: Method, pair: Pair) -> tuple[Tensor, float]:
    """Return the flow of a method and its CPU seconds."""
    start = time.thread_time()
    flow = method(pair.image0, pair.image1)
    return flow, time.thread_time() - start


def status(name: str) -> int:
    """Return the bytes that a line of /proc/self/status tells."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}: memory is measured on Linux alone")


def grown(name: str, image0: np.ndarray, image1: np.ndarray) -> int:
    """Return the bytes by which this process grows at the peak of a row, torch loaded before."""
    torch.set_num_threads(1)
    before = status("VmRSS")
    methods([])[name](torch.from_numpy(image0), torch.from_numpy(image1))
    return status("VmHWM") - before


def peak_memory(name: str, pair: Pair) -> int:
    """Return the bytes that a row takes beyond torch, in a process that does nothing else."""
    images = pair.image0.numpy(), pair.image1.numpy()
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
        return process.submit(grown, name, *images).result()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, help="folder with image_1 and image_2")
    parser.add_argument("--full", action="store_true", help="pictures as large as they are")
    parser.add_argument("--without", nargs="*", default=[], help="rows to leave out, by beginning")
    parser.add_argument("--memory", action="store_true", help="measure the peak of every row, too")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    longest = None if options.full else SHORT
    sets = {} if options.pairs is None else {str(options.pairs): read_pairs(options.pairs, longest)}
    if not options.full:
        sets["scikit-image"] = made_pairs(longest)
    console = Console(width=120)
    for name in ("numba", "faiss"):
        if importlib.util.find_spec(name) is None:
            console.print(f"{name} is not installed: its rows are left out")
    rows = methods(options.without)
    tiny = Pair("tiny", torch.rand(1, 3, 60, 60), torch.rand(1, 3, 60, 60))
    for method in rows.values():
        method(tiny.image0, tiny.image1)  # compile, and load libraries
    for title, pairs in sets.items():
        table = Table("method", "SSD ratio", "each", "PSNR, dB", "CPU s", "memory, MB", title=title)
        memory = {n: max(peak_memory(n, p) for p in pairs) for n in rows if options.memory}
        measured = {name: [measure(m, pair) for pair in pairs] for name, m in rows.items()}
        costs = {
            name: np.array([mean_cost(p, f[0]) for p, f in zip(pairs, found, strict=True)])
            for name, found in measured.items()
        }
        least = costs.get("exact", np.min(list(costs.values()), axis=0))
        for name, found in measured.items():
            ratio = costs[name] / least
            decibels = [psnr(p, f[0]) for p, f in zip(pairs, found, strict=True)]
            table.add_row(
                name, f"{ratio.mean():.3f}", " ".join(f"{r:.3f}" for r in ratio),
                f"{np.mean(decibels):.2f}", f"{np.mean([f[1] for f in found]):.2f}",
                f"{memory[name] / 1e6:.0f}" if options.memory else "",
            )  # fmt: skip
        if "exact" not in costs:
            table.caption = "without exact: ratios to the best row of each pair"
        console.print(table)


if __name__ == "__main__":
    main()
