"""How near to exact and how fast are nearest-neighbour fields? The tables of docs/benchmarks.md.

python3 dev/benchmark_nnf.py --pairs FOLDER [--full] [--without exact ...]

FOLDER holds image_1/ and image_2/, whose pictures are paired by sorted name. Patches are 7x7 RGB,
wholly inside; pictures are shrunk to 320 pixels on the longer side, with --full they are taken as
they are. Beside them come pairs made of scikit-image's photographs. Every method runs in this
process on one thread; times are CPU seconds. numba and faiss are rows where they are installed.
Memory is what the process grew by at the peak, /proc/self/status willing.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch, numba and faiss are loaded

import argparse
import importlib.util
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.io import IMAGE_SUFFIXES, read_image, to_rgb_uint8
from patchmatch.ops import exact_field, nearest_neighbours, patch_match, vote

PATCH = 7
Method = Callable[[Tensor, Tensor], Tensor]  # images (1, 3, H, W) to flow (1, 2, H, W)


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


def scanline_patch_match(iterations: int) -> Method:
    """Return PatchMatch as Barnes et al. (2009) run it: scanline by scanline, compiled by numba."""
    import numba

    # numba compiles these far better than a Generator
    seed, draw = np.random.seed, np.random.randint

    @numba.njit(fastmath=True)
    def cost_of(a: Any, b: Any, y0: int, x0: int, y1: int, x1: int, bound: float) -> float:
        total = np.float32(0)
        for dy in range(PATCH):
            for dx in range(PATCH):
                for channel in range(3):
                    difference = a[y0 + dy, x0 + dx, channel] - b[y1 + dy, x1 + dx, channel]
                    total += difference * difference
            if total >= bound:
                break
        return total

    @numba.njit(fastmath=True)
    def search(a: Any, b: Any, rounds: int) -> Any:
        seed(0)
        height, width = a.shape[0] - PATCH + 1, a.shape[1] - PATCH + 1
        rows, columns = b.shape[0] - PATCH + 1, b.shape[1] - PATCH + 1
        places = np.empty((height, width, 2), np.int64)
        costs = np.empty((height, width), np.float32)
        for y in range(height):
            for x in range(width):
                places[y, x, 0] = draw(0, rows)
                places[y, x, 1] = draw(0, columns)
                costs[y, x] = cost_of(a, b, y, x, places[y, x, 0], places[y, x, 1], np.inf)
        for number in range(rounds):
            step = 1 if number % 2 == 0 else -1  # even rounds run down, odd ones up
            for i in range(height):
                y = i if step == 1 else height - 1 - i
                for j in range(width):
                    x = j if step == 1 else width - 1 - j
                    best, best_y, best_x = costs[y, x], places[y, x, 0], places[y, x, 1]
                    for axis in range(2):
                        ny, nx = (y - step, x) if axis == 0 else (y, x - step)
                        if 0 <= ny < height and 0 <= nx < width:
                            ty, tx = places[ny, nx, 0] + y - ny, places[ny, nx, 1] + x - nx
                            if 0 <= ty < rows and 0 <= tx < columns:
                                cost = cost_of(a, b, y, x, ty, tx, best)
                                if cost < best:
                                    best, best_y, best_x = cost, ty, tx
                    radius = max(rows, columns)
                    while radius >= 1:
                        ty = draw(max(0, best_y - radius), min(rows, best_y + radius + 1))
                        tx = draw(max(0, best_x - radius), min(columns, best_x + radius + 1))
                        cost = cost_of(a, b, y, x, ty, tx, best)
                        if cost < best:
                            best, best_y, best_x = cost, ty, tx
                        radius //= 2
                    costs[y, x], places[y, x, 0], places[y, x, 1] = best, best_y, best_x
        return places

    def find(image0: Tensor, image1: Tensor) -> Tensor:
        a, b = (np.ascontiguousarray(i[0].movedim(0, -1).numpy()) for i in (image0, image1))
        return whole_flow(search(a, b, iterations), image0)

    return find


def whole_flow(places: np.ndarray, image0: Tensor) -> Tensor:
    """Return the flow of corners (h, w, 2) of patches as (1, 2, H, W)."""
    height, width = places.shape[:2]
    own = np.stack(np.mgrid[:height, :width], axis=-1)
    flow = np.ascontiguousarray((places - own)[..., ::-1])  # dy, dx to dx, dy
    before = PATCH // 2
    after = PATCH - 1 - before
    flow = np.pad(flow, ((before, after), (before, after), (0, 0)), mode="edge")
    return torch.from_numpy(flow).movedim(-1, 0)[None]


def patches_of(image: Tensor) -> np.ndarray:
    """Return every patch as a row."""
    return torch.nn.functional.unfold(image, PATCH)[0].T.contiguous().numpy()


def inverted_lists(image0: Tensor, image1: Tensor) -> Tensor:
    """Search 32 principal components by faiss: 256 lists, of which 16 are looked through."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows0, rows1 = patches_of(image0), patches_of(image1)
    reduction = faiss.PCAMatrix(rows1.shape[1], 32)
    reduction.train(rows1[:: max(1, len(rows1) // 20000)])
    points0, points1 = reduction.apply(rows0), reduction.apply(rows1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(32), 32, 256)
    index.cp.niter = 5
    index.train(points1[:: max(1, len(points1) // 20000)])
    index.add(points1)
    index.nprobe = 16
    _, found = index.search(points0, 4)
    costs = np.stack([np.square(rows0 - rows1[k]).sum(axis=1) for k in found.T], axis=1)
    best = np.take_along_axis(found, costs.argmin(axis=1)[:, None], axis=1)[:, 0]
    columns = image1.shape[-1] - PATCH + 1
    places = np.stack([best // columns, best % columns], axis=-1)
    grid = image0.shape[-2] - PATCH + 1, image0.shape[-1] - PATCH + 1
    return whole_flow(places.reshape(*grid, 2), image0)


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


def resident() -> int:
    """Return the bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(method: Method, pair: Pair) -> tuple[Tensor, float, float]:
    """Return the flow of a method, its CPU seconds and the MB that the process grew by."""
    done, before = threading.Event(), resident()
    peak = before

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.thread_time()
    flow = method(pair.image0, pair.image1)
    seconds = time.thread_time() - start
    peak = max(peak, resident())
    done.set()
    watcher.join()
    return flow, seconds, (peak - before) / 1e6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, help="folder with image_1 and image_2")
    parser.add_argument("--full", action="store_true", help="pictures as large as they are")
    parser.add_argument("--without", nargs="*", default=[], help="rows to leave out, by beginning")
    options = parser.parse_args()
    torch.set_num_threads(1)
    longest = None if options.full else 320
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
                f"{max(f[2] for f in found):.0f}",
            )  # fmt: skip
        if "exact" not in costs:
            table.caption = "without exact: ratios to the best row of each pair"
        console.print(table)


if __name__ == "__main__":
    main()
