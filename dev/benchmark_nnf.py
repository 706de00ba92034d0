"""Benchmark accuracy, time and memory of nearest-neighbour fields; see docs/benchmarks.md.

python3 dev/benchmark_nnf.py --pairs FOLDER [--full] [--memory] [--without exact ...]

FOLDER contains image_1/ and image_2/, whose images are paired by sorted name. Patches are 7x7 RGB.
Images are reduced to 320 pixels on the longer side, unless --full is given. A second table, left
out with --full, measures overlapping crops of scikit-image's photographs. Every method runs in this
process on one thread; times are CPU seconds. numba and faiss are measured if they are installed.
Memory is the peak growth of a fresh process, after torch and the images are loaded: the largest of
all pairs, on Linux only.
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
from patchmatch.nnf.voting import vote_patches

LONGEST_SIDE = 320  # pixels, unless --full is given


class Pair(NamedTuple):
    """Two images (1, 3, H, W); image 0 is searched in image 1."""

    name: str
    image0: Tensor
    image1: Tensor


def to_tensor(image: np.ndarray, longest: int | None) -> Tensor:
    """Return an image as (1, 3, H, W), resized to ``longest`` pixels on the longer side."""
    if longest is not None:
        scale = longest / max(image.shape[:2])
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)[None].float() / 255


def read_pairs(folder: Path, longest: int | None) -> list[Pair]:
    """Return the pairs of a folder."""
    sides = [
        sorted(p for p in (folder / side).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        for side in ("image_1", "image_2")
    ]
    if len(sides[0]) != len(sides[1]):
        raise SystemExit(
            f"{folder}: image_1 and image_2 must contain as many images, got {len(sides[0])} and "
            f"{len(sides[1])}"
        )
    return [
        Pair(paths[0].stem, *(to_tensor(to_rgb_uint8(read_image(p)), longest) for p in paths))
        for paths in zip(*sides, strict=True)
    ]


def photograph_pairs(longest: int | None) -> list[Pair]:
    """Return pairs of overlapping crops of photographs, one rotated and one blurred."""
    from skimage import data

    astronaut, coffee, cat, rocket = data.astronaut(), data.coffee(), data.cat(), data.rocket()
    matrix = cv2.getRotationMatrix2D((300, 200), 8, 1.1)
    rotated = cv2.warpAffine(coffee, matrix, (600, 400), borderMode=cv2.BORDER_REFLECT)
    sides = {
        "astronaut": (astronaut[:400, :420], astronaut[80:, 60:]),
        "coffee": (coffee, rotated),
        "cat": (cat[:, :360], cat[:, 90:]),
        "rocket": (rocket[:380], cv2.GaussianBlur(rocket[40:, 40:], (0, 0), 1)),
    }
    return [Pair(k, *(to_tensor(image, longest) for image in v)) for k, v in sides.items()]


def last_flow(search: Callable[..., Any], **options: Any) -> Method:
    """Return a search of patchmatch as a method."""

    def find(image0: Tensor, image1: Tensor) -> Tensor:
        *_, field = search(image0, image1, PATCH, **options)
        return field.flow[:, 0]

    return find


def methods(without: list[str]) -> dict[str, Method]:
    """Return the methods by name, without names that start with one of ``without``."""
    found: dict[str, Method] = {}
    for number in (5, 10, 20):
        found[f"PatchMatch, {number} iterations"] = last_flow(patch_match, iterations=number)
    if importlib.util.find_spec("numba") is not None:
        for number in (5, 10, 20):
            found[f"numba PatchMatch, {number} iterations"] = scanline_patch_match(number)
    for preset in ("fast", "balanced", "accurate"):
        found[f"preset {preset}"] = last_flow(nearest_neighbours, preset=preset)
    if importlib.util.find_spec("faiss") is not None:
        found["faiss, 32 components, lists"] = inverted_lists
    found["exact"] = lambda a, b: exact_field(a, b, PATCH).flow[:, 0]
    return {k: v for k, v in found.items() if not any(k.startswith(name) for name in without)}


def mean_cost(pair: Pair, flow: Tensor) -> float:
    """Return the mean over patches of their summed squared differences."""
    inside = flow[0, :, PATCH // 2 :, PATCH // 2 :]
    height, width = (n - PATCH + 1 for n in pair.image0.shape[-2:])
    y = torch.arange(height)[:, None] + inside[1, :height, :width]
    x = torch.arange(width) + inside[0, :height, :width]
    total = 0.0
    for dy in range(PATCH):
        for dx in range(PATCH):
            matched = pair.image1[0][:, y + dy, x + dx]
            own = pair.image0[0, :, dy : dy + height, dx : dx + width]
            total += (matched - own).square().sum(dim=0).mean().item()
    return total


def voting_psnr(pair: Pair, flow: Tensor) -> float:
    """Return the PSNR of image 0 reconstructed by voting, in dB."""
    error = (vote_patches(pair.image1, flow, PATCH) - pair.image0).square().mean()
    return -10 * math.log10(max(error, 1e-10))


def measure(method: Method, pair: Pair) -> tuple[Tensor, float]:
    """Return the flow of a method and its CPU seconds."""
    start = time.thread_time()
    flow = method(pair.image0, pair.image1)
    return flow, time.thread_time() - start


def process_memory(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}: --memory requires Linux")


def memory_growth(name: str, image0: np.ndarray, image1: np.ndarray) -> int:
    """Return the peak growth of this process in bytes while it runs a method."""
    torch.set_num_threads(1)
    before = process_memory("VmRSS")
    methods([])[name](torch.from_numpy(image0), torch.from_numpy(image1))
    return process_memory("VmHWM") - before


def peak_memory(name: str, pair: Pair) -> int:
    """Return the peak memory of a method in bytes, measured in a fresh process."""
    images = pair.image0.numpy(), pair.image1.numpy()
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
        return process.submit(memory_growth, name, *images).result()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, help="folder with image_1 and image_2")
    parser.add_argument("--full", action="store_true", help="do not resize the images")
    parser.add_argument("--without", nargs="*", default=[], help="prefixes of methods to leave out")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    longest = None if options.full else LONGEST_SIDE
    sets = {} if options.pairs is None else {str(options.pairs): read_pairs(options.pairs, longest)}
    if not options.full:
        sets["scikit-image"] = photograph_pairs(longest)
    console = Console(width=120)
    for name in ("numba", "faiss"):
        if importlib.util.find_spec(name) is None:
            console.print(f"{name} is not installed: its methods are left out")
    rows = methods(options.without)
    tiny = Pair("tiny", torch.rand(1, 3, 60, 60), torch.rand(1, 3, 60, 60))
    for method in rows.values():
        method(tiny.image0, tiny.image1)  # compile and load libraries before timing
    for title, pairs in sets.items():
        table = Table(
            "method", "SSD ratio", "each pair", "PSNR, dB", "CPU s", "memory, MB", title=title
        )
        memory = {n: max(peak_memory(n, p) for p in pairs) for n in rows if options.memory}
        measured = {name: [measure(m, pair) for pair in pairs] for name, m in rows.items()}
        costs = {
            name: np.array([mean_cost(p, f[0]) for p, f in zip(pairs, found, strict=True)])
            for name, found in measured.items()
        }
        least = costs.get("exact", np.min(list(costs.values()), axis=0))
        for name, found in measured.items():
            ratio = costs[name] / least
            decibels = [voting_psnr(p, f[0]) for p, f in zip(pairs, found, strict=True)]
            table.add_row(
                name, f"{ratio.mean():.3f}", " ".join(f"{r:.3f}" for r in ratio),
                f"{np.mean(decibels):.2f}", f"{np.mean([f[1] for f in found]):.2f}",
                f"{memory[name] / 1e6:.0f}" if options.memory else "",
            )  # fmt: skip
        if "exact" not in costs:
            table.caption = "without exact: ratios to the best method of each pair"
        console.print(table)


if __name__ == "__main__":
    main()
