"""Benchmark the speed and memory of template matching: docs/templates.md.

python3 dev/benchmark_templates_speed.py --weights vgg19.pth

Reports processor time on one thread. Each row runs in its own process, so that its peak memory is
measured separately; memory excludes that of the process after its imports. Without weights the rows
of VGG-19 are omitted.
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

from patchmatch.core.process import keep_freed_memory
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.qatm import best_matches, qatm_scores

SIZES = (129_600, 920, 320)  # features of the scene, of the template, and their channels
REFERENCE = "formula of the paper"
LAYERS = {
    REFERENCE: None,
    "patchmatch, 512 MB kept, the default": 2**29,
    "patchmatch, 256 MB kept": 2**28,
    "patchmatch, 0 MB kept": 0,
}


class SearchCase(NamedTuple):
    """A search to time; all sizes are in pixels."""

    height: int
    width: int
    side: int
    options: dict[str, Any] | None  # options of TemplateMatcher; None for OpenCV
    templates: int = 1


HANDCRAFTED: dict[str, Any] = {"features": "handcrafted"}
SMALL, LARGE, HUGE = "480x360, 60x60", "1920x1080, 200x200", "4000x4000, 200x200"
ROTATIONS = HANDCRAFTED | {"rotations": range(0, 360, 30)}
SEARCHES = {
    f"{SMALL}: OpenCV matchTemplate, RGB": SearchCase(360, 480, 60, None),
    f"{SMALL}: handcrafted": SearchCase(360, 480, 60, HANDCRAFTED),
    f"{SMALL}: handcrafted, 10 templates": SearchCase(360, 480, 60, HANDCRAFTED, 10),
    f"{SMALL}: handcrafted, 12 rotations": SearchCase(360, 480, 60, ROTATIONS),
    f"{SMALL}: handcrafted, stride 1": SearchCase(360, 480, 60, HANDCRAFTED | {"stride": 1}),
    f"{SMALL}: VGG-19": SearchCase(360, 480, 60, {}),
    f"{SMALL}: VGG-19, 10 templates": SearchCase(360, 480, 60, {}, 10),
    f"{SMALL}: VGG-19, stride 1": SearchCase(360, 480, 60, {"stride": 1}),
    f"{LARGE}: OpenCV matchTemplate, RGB": SearchCase(1080, 1920, 200, None),
    f"{LARGE}: handcrafted": SearchCase(1080, 1920, 200, HANDCRAFTED),
    f"{LARGE}: VGG-19": SearchCase(1080, 1920, 200, {}),
    f"{HUGE}: handcrafted": SearchCase(4000, 4000, 200, HANDCRAFTED),
    f"{HUGE}: VGG-19": SearchCase(4000, 4000, 200, {}),
}


def reference_qatm(scene: Tensor, template: Tensor, alpha: float = 25.0) -> Tensor:
    """Return the quality of each scene feature by the formula of the paper, without chunks."""
    similarity = torch.einsum("sd,td->st", scene, template)
    over_template = similarity - similarity.max(dim=1, keepdim=True)[0]
    over_scene = similarity - similarity.max(dim=0, keepdim=True)[0]
    likelihood = (alpha * over_template).softmax(dim=1) * (alpha * over_scene).softmax(dim=0)
    return likelihood.sqrt().topk(1, dim=1)[0][:, 0]


def layer(cache_bytes: int | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the QATM layer that keeps some bytes of similarities; None for the reference."""
    if cache_bytes is None:
        return reference_qatm
    return lambda scene, template: (
        best_matches(qatm_scores(scene, template, 25.0, cache_bytes)).scene_score
    )


def random_features() -> tuple[Tensor, Tensor]:
    """Return random features of a scene and of a template."""
    scene, template, dimension = SIZES
    generator = torch.Generator().manual_seed(0)
    both = (torch.randn(n, dimension, generator=generator) for n in (scene, template))
    scene_features, template_features = (F.normalize(features, dim=1) for features in both)
    return scene_features, template_features


def time_layers(rounds: int = 8) -> Table:
    """Return the table of the QATM layer and the reference, timed alternately."""
    features = random_features()
    seconds: dict[str, list[float]] = {name: [] for name in LAYERS}
    results: dict[str, Tensor] = {}
    keep_freed_memory()
    for _ in range(rounds):
        for name, cache_bytes in LAYERS.items():
            start = time.process_time()
            result = layer(cache_bytes)(*features)
            seconds[name].append(time.process_time() - start)
            results[name] = result if cache_bytes is None else result.exp()
    table = Table("QATM layer", "CPU s", "speed-up, worst round", "difference", "MB")
    for name, own in seconds.items():
        faster = min(s / t for s, t in zip(seconds[REFERENCE], own, strict=True))
        difference = (results[name] - results[REFERENCE]).abs().max().item()
        peak = in_own_process("--layer", name)["megabytes"]
        row = (
            f"{min(own):.2f} to {max(own):.2f}",
            f"{faster:.1f}",
            f"{difference:.0e}",
            f"{peak:.0f}",
        )
        table.add_row(name, *row)
    return table


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an image with detail at several scales, uint8 RGB."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (3, 9, 27):
        small = rng.random((height // side + 2, width // side + 2, 3), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.rint(255 * np.clip(total / 3, 0, 1)).astype(np.uint8)


def run(case: SearchCase, weights: str) -> dict[str, float]:
    """Return the seconds of a search and the error of its box in pixels."""
    scene = texture(case.height, case.width)
    step = (case.height - case.side) // case.templates
    corners = [(step * i + step // 2, case.width // 3) for i in range(case.templates)]
    templates = [scene[y : y + case.side, x : x + case.side].copy() for y, x in corners]
    options = case.options
    if options is None:
        start = time.process_time()
        scores = cv2.matchTemplate(scene, templates[0], cv2.TM_CCOEFF_NORMED)
        corner = cv2.minMaxLoc(scores)[3]
        seconds = time.process_time() - start
        return {
            "seconds": seconds,
            "error": float(np.abs(np.subtract(corner, corners[0][::-1])).max()),
        }
    given = options if "features" in options else options | {"weights": weights}
    matcher = TemplateMatcher(**given).eval()
    matcher.configure_model()
    images = [torch.from_numpy(one).permute(2, 0, 1) / 255 for one in templates]
    scene_image = torch.from_numpy(scene).permute(2, 0, 1) / 255
    start = time.process_time()
    features = matcher.extract_features(scene_image)
    found = [matcher.detect(features, image) for image in images]
    seconds = time.process_time() - start
    error = max(
        max(abs(one.boxes[0, 0].item() - x), abs(one.boxes[0, 1].item() - y))
        for one, (y, x) in zip(found, corners, strict=True)
    )
    return {"seconds": seconds, "error": error}


def memory_mb(which: str) -> float:
    """Return the memory of this process, now (VmRSS) or at its peak (VmHWM), in megabytes."""
    status = Path("/proc/self/status").read_text()  # on Linux
    return float(status.partition(f"{which}:")[2].split()[0]) / 1024


def in_own_process(*arguments: str) -> dict[str, float]:
    """Run this script in a new process for one row, and return its JSON."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def time_searches(weights: str) -> Table:
    """Return the table of all searches."""
    table = Table("scene, template: method", "CPU s", "MB", "error, px")
    for name, case in SEARCHES.items():
        if not weights and case.options is not None and "features" not in case.options:
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
    parser.add_argument("--layer", choices=LAYERS, help="print one row of the QATM layer as JSON")
    parser.add_argument("--search", choices=SEARCHES, help="print one search as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: dict[str, float] = {}
    if options.layer:
        features = random_features()
        before = memory_mb("VmRSS")
        layer(LAYERS[options.layer])(*features)
    elif options.search:
        before = memory_mb("VmRSS")
        found = run(SEARCHES[options.search], options.weights)
    else:
        console = Console(width=120)
        console.print(time_layers())
        console.print(time_searches(options.weights))
        return
    print(json.dumps(found | {"megabytes": memory_mb("VmHWM") - before}))


if __name__ == "__main__":
    main()
