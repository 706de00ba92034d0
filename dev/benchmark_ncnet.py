"""Matches of patches by NCNet, and the same matches refined by Patch2Pix.

python3 dev/benchmark_ncnet.py [FOLDER_OF_BENCHMARKS] [--pairs 16] [--ckpt_path FILE]

Compared are mutual nearest neighbours of the coarse features and the consensus with relocalisation,
of the first layers (close to the identity) and of trained ones. Images: test scenes and the pairs
with a homography of the benchmarks in the folder, see ``benchmark_patch2pix.py``. Each row is one
set: matches of a pair, share within 8 pixels, share within 1 pixel before and after refinement, and
processor seconds.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmark_patch2pix import Item, photographs, scenes
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.checkpoints import load_trained, shipped_checkpoint
from patchmatch.pairs.patch2pix.ncnet import NCNetMatcher
from patchmatch.pairs.patch2pix.proposals import mutual_neighbours
from patchmatch.pairs.patch2pix.refinement import load_refiner, refine_points
from patchmatch.pairs.points import as_gray, as_rgb, downscale_pair

BEST = 400  # matches of a pair
SIZE = 640  # pixels of the longest side

Propose = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def nearest_neighbours(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mutual nearest neighbours of the coarse features."""
    net = load_refiner(image0.device)
    pyramids = [net.extract(F.pad(i, (0, -i.shape[3] % 8, 0, -i.shape[2] % 8), "replicate"))
                for i in map(as_gray, (image0, image1))]  # fmt: skip
    found = mutual_neighbours(*(p.coarse[0] for p in pyramids))
    return found[0][:BEST], found[1][:BEST]


def by_consensus(matcher: NCNetMatcher) -> Propose:
    """Return a function that gives the best mutual matches of NCNet."""

    def propose(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor]:
        found = matcher.match_tile(as_rgb(image0), as_rgb(image1), None, None)
        order = found.score.argsort(descending=True)[:BEST]
        return found.points0[order], found.points1[order]

    return propose


@torch.no_grad()
def measure(propose: Propose, item: Item) -> list[float]:
    """Return matches, share within 8, within 1, within 1 and within 3 refined, and seconds."""
    _, image0, image1, error = item
    small = downscale_pair(image0, image1, SIZE)
    scales = [i.shape[-1] / s.shape[-1] for i, s in zip((image0, image1), small, strict=True)]
    start = time.process_time()
    points0, points1 = propose(*small)
    seconds = time.process_time() - start
    refined0, refined1, _ = refine_points(load_refiner(image0.device), small, points0, points1)

    def shares(ends0: Tensor, ends1: Tensor, *limits: float) -> list[float]:
        values = error((ends0 + 0.5) * scales[0] - 0.5, (ends1 + 0.5) * scales[1] - 0.5)
        values = values[values.isfinite()] / scales[1]  # in pixels of the downscaled image 1
        return [float((values <= limit).float().sum() / max(1, len(values))) for limit in limits]

    before, after = shares(points0, points1, 8, 1), shares(refined0, refined1, 1, 3)
    return [float(len(points0)), *before, *after, seconds]


def memory(matcher: NCNetMatcher) -> None:
    """Print the growth of the memory and the seconds of 640x480 pixels."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 480, 640, generator=generator)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with torch.no_grad():
        matcher.match_tile(image, image, None, None)
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2
    Console().print(f"640x480: {grown:.2f} GB more, {seconds:.1f} processor seconds")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--ckpt_path", type=Path, default=shipped_checkpoint(NCNetMatcher.shipped))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first = NCNetMatcher().eval()
    first.is_loaded = True  # the layers as they start
    trained = load_trained(NCNetMatcher, arguments.ckpt_path, {})
    memory(trained)
    compared: dict[str, Propose] = {
        "nearest neighbours": nearest_neighbours,
        "consensus, first layers": by_consensus(first),
        "consensus, trained": by_consensus(trained),
    }
    items = list(scenes(arguments.split, arguments.pairs))
    items += [] if arguments.folder is None else photographs(arguments.folder)
    table = Table("matches", "set", "number", "<=8", "<=1", "refined <=1", "<=3", "CPU s")
    for name, propose in compared.items():
        rows: dict[str, list[list[float]]] = {}
        for item in items:
            rows.setdefault(item[0], []).append(measure(propose, item))
        for group, values in rows.items():
            mean = torch.tensor(values).mean(dim=0).tolist()
            table.add_row(name, group, f"{mean[0]:.0f}", *(f"{v:.2f}" for v in mean[1:]))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
