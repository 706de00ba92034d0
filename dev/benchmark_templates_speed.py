"""How fast templates are found and in how much memory: docs/benchmarks.md, "Templates".

python3 dev/benchmark_templates_speed.py --weights vgg19.pth

Processor time on one thread; every row in a process of its own, so that its peak of memory is its
own. Memory is counted beyond what the process holds once its packages are imported. Without
weights the rows of VGG-19 are left out.
"""

import argparse
import json
import subprocess
import sys
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
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.matcher import keep_freed_memory
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.qatm import best_matches, qatm_scores

FEATURES = (129_600, 920, 320)  # of the scene, of the template, and their numbers
PLAIN = "plain formula"
LAYERS = {
    PLAIN: None,
    "patchmatch, 512 MB kept, the default": 2**29,
    "patchmatch, 256 MB kept": 2**28,
    "patchmatch, nothing kept": 0,
}


class Search(NamedTuple):
    """A search to time: its sizes are sides in pixels."""

    height: int
    width: int
    side: int
    options: dict[str, Any] | None  # of TemplateMatcher; None for OpenCV
    templates: int = 1


BY_HAND: dict[str, Any] = {"features": "handcrafted"}
SEARCHES = {
    "480x360, 60x60: OpenCV matchTemplate, RGB": Search(360, 480, 60, None),
    "480x360, 60x60: handcrafted": Search(360, 480, 60, BY_HAND),
    "the same, 10 templates": Search(360, 480, 60, BY_HAND, 10),
    "the same, 12 rotations": Search(360, 480, 60, BY_HAND | {"rotations": range(0, 360, 30)}),
    "the same, exact, every pixel": Search(360, 480, 60, BY_HAND | {"stride": 1}),
    "480x360, 60x60: VGG-19": Search(360, 480, 60, {}),
    "the same, 10 templates ": Search(360, 480, 60, {}, 10),
    "the same, exact, every pixel ": Search(360, 480, 60, {"stride": 1}),
    "1920x1080, 200x200: OpenCV matchTemplate, RGB": Search(1080, 1920, 200, None),
    "1920x1080, 200x200: handcrafted": Search(1080, 1920, 200, BY_HAND),
    "1920x1080, 200x200: VGG-19": Search(1080, 1920, 200, {}),
    "4000x4000, 200x200: handcrafted": Search(4000, 4000, 200, BY_HAND),
    "4000x4000, 200x200: VGG-19": Search(4000, 4000, 200, {}),
}


def plain_qatm(scene: Tensor, template: Tensor, alpha: float = 25.0) -> Tensor:
    """Return the quality of each scene feature, by the formula as it is written in the paper."""
    similarity = torch.einsum("sd,td->st", scene, template)
    over_template = similarity - similarity.max(dim=1, keepdim=True)[0]
    over_scene = similarity - similarity.max(dim=0, keepdim=True)[0]
    likelihood = (alpha * over_template).softmax(dim=1) * (alpha * over_scene).softmax(dim=0)
    return likelihood.sqrt().topk(1, dim=1)[0][:, 0]


def layer(memory: int | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the exact layer with some bytes of similarities kept; None for the plain formula."""
    if memory is None:
        return plain_qatm
    return lambda scene, template: best_matches(qatm_scores(scene, template, 25.0, memory)).scene


def random_features() -> tuple[Tensor, Tensor]:
    """Return the features of a scene and of a template."""
    scene, template, dimension = FEATURES
    generator = torch.Generator().manual_seed(0)
    both = (torch.randn(n, dimension, generator=generator) for n in (scene, template))
    scene_features, template_features = (F.normalize(features, dim=1) for features in both)
    return scene_features, template_features


def time_layers(rounds: int = 8) -> Table:
    """Time the exact layer and the plain formula in turn."""
    features = random_features()
    seconds: dict[str, list[float]] = {name: [] for name in LAYERS}
    answers: dict[str, Tensor] = {}
    keep_freed_memory()
    for _ in range(rounds):
        for name, memory in LAYERS.items():
            start = time.process_time()
            answer = layer(memory)(*features)
            seconds[name].append(time.process_time() - start)
            answers[name] = answer if memory is None else answer.exp()
    table = Table("exact layer", "CPU s", "times faster, worst round", "difference", "MB")
    for name, spent in seconds.items():
        faster = min(s / own for s, own in zip(seconds[PLAIN], spent, strict=True))
        apart = (answers[name] - answers[PLAIN]).abs().max().item()
        most = in_own_process("--layer", name)["megabytes"]
        row = (
            f"{min(spent):.2f} to {max(spent):.2f}",
            f"{faster:.1f}",
            f"{apart:.0e}",
            f"{most:.0f}",
        )
        table.add_row(name, *row)
    return table


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a picture with detail of several sizes, uint8 RGB."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (3, 9, 27):
        small = rng.random((height // side + 2, width // side + 2, 3), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.rint(255 * np.clip(total / 3, 0, 1)).astype(np.uint8)


def run(search: Search, weights: str) -> dict[str, float]:
    """Return the seconds of a search and how far off the box is, in pixels."""
    scene = texture(search.height, search.width)
    step = (search.height - search.side) // search.templates
    corners = [(step * i + step // 2, search.width // 3) for i in range(search.templates)]
    cuts = [scene[y : y + search.side, x : x + search.side].copy() for y, x in corners]
    options = search.options
    if options is None:
        start = time.process_time()
        scores = cv2.matchTemplate(scene, cuts[0], cv2.TM_CCOEFF_NORMED)
        place = cv2.minMaxLoc(scores)[3]
        seconds = time.process_time() - start
        return {
            "seconds": seconds,
            "error": float(np.abs(np.subtract(place, corners[0][::-1])).max()),
        }
    given = options if "features" in options else options | {"weights": weights}
    matcher = TemplateMatcher(**given).eval()
    matcher.configure_model()
    pictures = [torch.from_numpy(cut).permute(2, 0, 1) / 255 for cut in cuts]
    whole = torch.from_numpy(scene).permute(2, 0, 1) / 255
    start = time.process_time()
    described = matcher.describe(whole)
    found = [matcher.find(described, picture) for picture in pictures]
    seconds = time.process_time() - start
    error = max(
        max(abs(one.boxes[0, 0].item() - x), abs(one.boxes[0, 1].item() - y))
        for one, (y, x) in zip(found, corners, strict=True)
    )
    return {"seconds": seconds, "error": error}


def held(which: str) -> float:
    """Return the memory that this process holds, VmRSS, or held at most, VmHWM, in megabytes."""
    status = Path("/proc/self/status").read_text()  # on Linux
    return float(status.partition(f"{which}:")[2].split()[0]) / 1024


def in_own_process(*arguments: str) -> dict[str, float]:
    """Return what a process of this file prints for a row."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def time_searches(weights: str) -> Table:
    """Time every search in a process of its own."""
    table = Table("scene, template: method", "CPU s", "MB", "error, px")
    for name, search in SEARCHES.items():
        if not weights and search.options is not None and "features" not in search.options:
            continue
        found = in_own_process("--search", name, "--weights", weights)
        cells = f"{found['seconds']:.2f}", f"{found['megabytes']:.0f}", f"{found['error']:.2f}"
        table.add_row(name, *cells)
        Console(width=120, stderr=True).print(name, *cells)
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="", help="file with the weights of VGG-19")
    parser.add_argument("--layer", choices=LAYERS, help="one row of the exact layer, as JSON")
    parser.add_argument("--search", choices=SEARCHES, help="one search, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: dict[str, float] = {}
    if options.layer:
        features = random_features()
        before = held("VmRSS")
        layer(LAYERS[options.layer])(*features)
    elif options.search:
        before = held("VmRSS")
        found = run(SEARCHES[options.search], options.weights)
    else:
        console = Console(width=120)
        console.print(time_layers())
        console.print(time_searches(options.weights))
        return
    print(json.dumps(found | {"megabytes": held("VmHWM") - before}))


if __name__ == "__main__":
    main()
