"""Share of matches within 1 and 3 pixels, before and after the refinement by Patch2Pix.

python3 dev/benchmark_patch2pix.py [FOLDER_OF_BENCHMARKS] [--pairs 32] [--picture FILE.png]

Matches: coarse proposals (mutual nearest neighbours of the features at 1/8 of the size) and those
of SIFT. Images: test scenes of ``EpipolarPairs``, whose photographs are not used for training, and
the pairs with a homography of the benchmarks in the folder. ``--split val`` measures on the
validation scenes, on which settings are chosen.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import cv2
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
from patchmatch.pairs.patch2pix.matcher import true_error
from patchmatch.pairs.patch2pix.proposals import mutual_neighbours
from patchmatch.pairs.patch2pix.refinement import MIN_CONFIDENCE, load_refiner, refine_points
from patchmatch.pairs.points import as_gray
from patchmatch.public.images import to_tensors
from patchmatch.public.pairs import load_pair_matcher

PROPOSALS = 400
THRESHOLDS = (1, 3)  # pixels

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
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    net, sift = (
        load_refiner(torch.device("cpu")),
        load_pair_matcher("sift", options={"align": False}),
    )
    found: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    seconds: list[float] = []
    first: tuple[Tensor, Tensor] | None = None
    real = photographs(options.folder) if options.folder else iter(())
    for name, image0, image1, error in chain(real, scenes(options.split, options.pairs)):
        first = first or (image0, image1)
        with torch.no_grad():
            pyramids = [net.extract(as_gray(image)) for image in (image0, image1)]
        proposed = mutual_neighbours(*(p.coarse[0] for p in pyramids))
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
    if options.picture and first:
        write_image(options.picture, draw(*first))


def draw(image0: Tensor, image1: Tensor) -> np.ndarray:
    """Return a picture of the coarse, mid and fine matches of a pair, (H, W, 3) uint8."""
    net = load_refiner(torch.device("cpu"))
    with torch.no_grad():
        pyramids = [net.extract(as_gray(image)) for image in (image0, image1)]
        points = [p[:PROPOSALS] for p in mutual_neighbours(*(p.coarse[0] for p in pyramids))[:2]]
        pair = torch.zeros(len(points[0]), dtype=torch.long)
        mid, fine = net.refine(pyramids[0], pyramids[1], pair, points[0], points[1])
    score = torch.minimum(mid.logits, fine.logits).sigmoid()
    best = score.argsort(descending=True)[:60].tolist()
    panels = []
    height = max(image0.shape[2], image1.shape[2])
    width = image0.shape[3]
    ends = (points, (mid.points0, mid.points1), (fine.points0, fine.points1))
    for ends0, ends1 in ends:
        panel = np.zeros((height, width + image1.shape[3], 3), np.uint8)
        for left, image in ((0, image0), (width, image1)):
            pixels = (255 * image[0].movedim(0, -1)).byte().numpy()
            panel[: pixels.shape[0], left : left + pixels.shape[1]] = pixels
        for rank, index in enumerate(best):
            hue = np.full((1, 1), 4 * rank, np.uint8)
            colour = cv2.applyColorMap(hue, cv2.COLORMAP_HSV)[0, 0].tolist()
            start, end = ends0[index].round().int().tolist(), ends1[index].round().int().tolist()
            end[0] += width
            cv2.line(panel, start, end, colour, 1, cv2.LINE_AA)
            for centre in (start, end):
                cv2.circle(panel, centre, 3, colour, -1, cv2.LINE_AA)
        panels.append(panel)
    return np.concatenate(panels)


if __name__ == "__main__":
    main()
