"""Share of matches within 1 and 3 pixels, before and after the refinement by Patch2Pix.

python3 dev/benchmark_patch2pix.py [FOLDER_OF_BENCHMARKS] [--pairs 32] [--checkpoint FILE.ckpt]
python3 dev/benchmark_patch2pix.py [FOLDER_OF_A_BENCHMARK] --picture FILE.png [--number 0]

Matches: coarse proposals (mutual nearest neighbours of the features at 1/8 of the size) and those
of SIFT. Images: test scenes of ``EpipolarPairs``, whose photographs are not used for training, and
the pairs with a homography of the benchmarks in the folder. ``--split val`` measures on the
validation scenes, on which settings are chosen. The picture shows the proposals of a scene,
or of a pair of a benchmark, after each stage, coloured by their error: the distance from the true
correspondence, or from the epipolar lines.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.io import read_image, write_image
from patchmatch.ops.homography import warp_points
from patchmatch.pairs.benchmarks import is_benchmark, read_benchmark
from patchmatch.pairs.patch2pix.data import EpipolarPairs
from patchmatch.pairs.patch2pix.losses import sampson_distance, true_error
from patchmatch.pairs.patch2pix.net import Patch2PixNet
from patchmatch.pairs.patch2pix.panels import draw_stages
from patchmatch.pairs.patch2pix.refinement import MIN_CONFIDENCE, load_refiner, refine_points
from patchmatch.pairs.points import as_gray
from patchmatch.public.images import to_tensors
from patchmatch.public.pairs import load_pair_matcher
from patchmatch.synthetic.rendering import fundamental_matrix

PROPOSALS = 400
THRESHOLDS = (1, 3)  # pixels
DRAWN = 150  # most confident matches of the picture

Error = Callable[[Tensor, Tensor], Tensor]  #: distances of matches from the truth, NaN if unknown
Item = tuple[str, Tensor, Tensor, Error]  #: name of the set, both images, and the truth


def scenes(split: str, count: int) -> Iterator[Item]:
    """Yield scenes with their true flow."""
    data = EpipolarPairs(eval_pairs=count, batch_size=1)
    data.setup("test" if split == "test" else "validate")
    for batch in data.test_dataloader() if split == "test" else data.val_dataloader():

        def error(points0: Tensor, points1: Tensor, batch=batch) -> Tensor:
            pair = torch.zeros(len(points0), dtype=torch.long)
            return true_error(batch["flow"], batch["valid"], pair, points0, points1)

        yield f"scenes ({split})", batch["image0"], batch["image1"], error


def photographs(folder: Path) -> Iterator[Item]:
    """Yield the pairs with a homography of all benchmarks in a folder."""
    for root in sorted(p for p in folder.iterdir() if p.is_dir() and is_benchmark(p)):
        for pair in read_benchmark(root):
            if pair.homography is None or not (root / pair.image1).is_file():
                continue
            images = {f"image{i}": read_image(root / getattr(pair, f"image{i}")) for i in (0, 1)}
            homography = torch.as_tensor(pair.homography, dtype=torch.float64)

            def error(points0: Tensor, points1: Tensor, homography=homography) -> Tensor:
                return (warp_points(homography, points0.double()) - points1).norm(dim=1)

            tensors = to_tensors(images)
            # the sequences of HPatches with changes of light have no motion
            name = f"{root.name} {Path(pair.image0).parent.name}"
            yield name, tensors[0], tensors[1], error


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--confidence", type=float, default=MIN_CONFIDENCE)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--number", type=int, default=0, help="pair of the picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = load_refiner(torch.device("cpu"), options.checkpoint)
    if options.picture is not None:
        if options.folder:
            item = posed(options.folder, options.number)
        else:
            item = list(scenes(options.split, options.number + 1))[options.number]
        write_image(options.picture, draw(net, item))
        return
    sift = load_pair_matcher("sift", options={"align": False})
    found: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    seconds: list[float] = []
    real = photographs(options.folder) if options.folder else iter(())
    for name, image0, image1, error in chain(real, scenes(options.split, options.pairs)):
        with torch.no_grad():
            pyramids = [net.extract(as_gray(image)) for image in (image0, image1)]
            proposed = net.propose(pyramids[0], pyramids[1])
        matched = sift.match(image0, image1)
        sources = {
            "proposals": (proposed[0][:PROPOSALS], proposed[1][:PROPOSALS]),
            "SIFT": (matched.keypoints0, matched.keypoints1),
        }
        for source, points in sources.items():
            start = time.perf_counter()
            refined = refine_points(
                net, (image0, image1), *points, source == "proposals", options.confidence
            )
            seconds.append(time.perf_counter() - start)
            chosen = refined[2] >= options.confidence
            for stage, ends in (
                ("before", points),
                ("after", refined[:2]),
                ("confident before", [p[chosen] for p in points]),
                ("confident after", [p[chosen] for p in refined[:2]]),
            ):
                distance = error(*ends)
                distance = distance[distance.isfinite()].numpy()
                if len(distance):
                    shares = (float((distance <= t).mean()) for t in THRESHOLDS)
                    row = (len(distance), *shares)
                    found.setdefault((name, source, stage), []).append(row)
                    print(name, source, stage, *(f"{v:.3f}" for v in row), file=sys.stderr)
    table = Table("set", "matches", "stage", "pairs", "number", *(f"{t} px" for t in THRESHOLDS))
    for key, rows in found.items():
        number, *shares = np.mean(rows, axis=0)
        table.add_row(*key, str(len(rows)), f"{number:.0f}", *(f"{s:.3f}" for s in shares))
    Console(width=100).print(table)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{np.mean(seconds):.2f} s a refinement on one core, peak memory {gigabytes:.2f} GB")


def posed(root: Path, number: int) -> Item:
    """Return a pair of a benchmark with its homography, or else with its epipolar lines."""
    pair = read_benchmark(root)[number]
    paths = {"image0": root / pair.image0, "image1": root / pair.image1}
    tensors = to_tensors({name: read_image(path) for name, path in paths.items()})

    def error(points0: Tensor, points1: Tensor) -> Tensor:
        if pair.homography is not None:
            homography = torch.as_tensor(pair.homography, dtype=torch.float64)
            return (warp_points(homography, points0.double()) - points1).norm(dim=1)
        matrices = [torch.as_tensor(k) for k in (pair.intrinsics0, pair.intrinsics1)]
        fundamental = fundamental_matrix(torch.as_tensor(pair.pose)[:3], matrices[0], matrices[1])
        return sampson_distance(fundamental, points0.double(), points1.double()).sqrt()

    return root.name, tensors[0], tensors[1], error


def draw(net: Patch2PixNet, item: Item) -> np.ndarray:
    """Return the coarse, mid and fine matches of a pair with known truth, (H, W, 3) uint8."""
    _, image0, image1, error = item
    with torch.no_grad():
        pyramids = [net.extract(as_gray(image)) for image in (image0, image1)]
        points = [p[:PROPOSALS] for p in net.propose(pyramids[0], pyramids[1])]
        index = torch.zeros(len(points[0]), dtype=torch.long)
        mid, *_, fine = net.refine(pyramids[0], pyramids[1], index, points[0], points[1])
    best = torch.minimum(mid.logits, fine.logits).argsort(descending=True)[:DRAWN]
    known = error(points[0][best], points[1][best]).isfinite()
    best = best[known & error(fine.points0[best], fine.points1[best]).isfinite()]
    stages = {}
    for name, ends in (
        ("coarse", points),
        ("mid", (mid.points0, mid.points1)),
        ("fine", (fine.points0, fine.points1)),
    ):
        points0, points1 = ends[0][best], ends[1][best]
        stages[name] = (points0, points1, error(points0, points1).square())
    return draw_stages(image0[0], image1[0], stages)


if __name__ == "__main__":
    main()
