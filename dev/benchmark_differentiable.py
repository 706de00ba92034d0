"""Benchmark the trained features of Differentiable PatchMatch; see docs/benchmarks.md.

python3 dev/benchmark_differentiable.py [--photographs FOLDER] [--flow FOLDER] [--also NAME=CKPT]

Pairs are warped from the test photographs of scikit-image and scikit-learn, and from those of
--photographs. --flow adds pairs with true flow: a folder of folders, each with two images in order
and a .flo file. All rows use the same search over all of image 1 and its integer flow; only the
compared features differ. "Gain and offset removed": by the estimate of the trained features.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.io import IMAGE_SUFFIXES, read_flo, read_image, to_rgb_uint8
from patchmatch.nnf.differentiable.loss import patch_ground_truth
from patchmatch.nnf.differentiable.matcher import DifferentiablePatchMatch
from patchmatch.nnf.differentiable.warped_pairs import WarpedPairs, WarpedPhotographs, leads_inside
from patchmatch.nnf.gain_offset import apply_gain_offset
from patchmatch.nnf.patches import Field
from patchmatch.synthetic.photographs import folder_images, load_rgb_image

SIDE, MAX_SHIFT = 128, 20.0  # pixels, of the synthetic pairs
LARGEST_PATCH = 11  # pixels: errors are measured where a patch of this side is whole
Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # images in [0, 1], flow, valid
DEGRADATIONS: dict[str, Callable[[np.ndarray, np.random.Generator, int], np.ndarray]] = {
    "clean": lambda image, *_: image,
    "noise 8": lambda image, rng, _: image + rng.normal(0, 8 / 255, image.shape),
    "gain 0.7": lambda image, _, i: image * 0.7 if i else image,
    "gain 1.4": lambda image, _, i: image * 1.4 if i else image,
    "blur 1.5": lambda image, _, i: cv2.GaussianBlur(image, (0, 0), 1.5) if i else image,
}


class CorrectedMatcher:
    """A matcher after correction of gain and offset, which another matcher estimates."""

    def __init__(
        self, estimator: DifferentiablePatchMatch, matcher: DifferentiablePatchMatch
    ) -> None:
        self.estimator, self.matcher = estimator, matcher

    def fields(self, image0: Tensor, image1: Tensor) -> Iterator[Field]:
        """Yield the fields of the matcher."""
        gain_offset = self.estimator.find_gain_offset(image0, image1)
        return self.matcher.fields(apply_gain_offset(image0, gain_offset), image1)


def synthetic_pairs(sources: list[np.ndarray], count: int) -> list[Pair]:
    """Return clean warped pairs of images."""
    dataset = WarpedPairs(sources, count, 2, SIDE, MAX_SHIFT, degraded=None)
    names = ("image0", "image1", "flow")
    items = [dataset[i] for i in range(count)]
    return [
        (*(item[name].movedim(0, -1).numpy() for name in names), item["valid"].numpy())
        for item in items
    ]


def flow_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder of folders, halved until at most 320 pixels wide."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        paths = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(paths) != 2:
            raise SystemExit(f"{path.parent}: must contain two images, got {len(paths)}")
        images = [to_rgb_uint8(read_image(p)).astype(np.float32) / 255 for p in paths]
        flow, valid = read_flo(path)
        flow = np.where(valid[..., None], flow, 0)
        while images[0].shape[1] > 320:
            height, width = (side // 2 * 2 for side in flow.shape[:2])
            blocks = (height // 2, 2, width // 2, 2)
            images = [i[:height, :width].reshape(*blocks, 3).mean(axis=(1, 3)) for i in images]
            flow = flow[:height, :width].reshape(*blocks, 2).mean(axis=(1, 3)) / 2
            valid = valid[:height, :width].reshape(blocks).all(axis=(1, 3))
        pairs.append((images[0], images[1], flow, valid & leads_inside(flow)))
    return pairs


def degrade(pairs: list[Pair], name: str) -> list[Pair]:
    """Return the pairs after a degradation, rounded to 8 bits."""
    degraded = []
    for number, (image0, image1, flow, valid) in enumerate(pairs):
        rng = np.random.default_rng((3, number))
        images = [
            (DEGRADATIONS[name](image, rng, i) * 255).clip(0, 255).round() / 255
            for i, image in enumerate((image0, image1))
        ]
        degraded.append((images[0].astype(np.float32), images[1].astype(np.float32), flow, valid))
    return degraded


@torch.inference_mode()
def end_point_errors(
    matcher: DifferentiablePatchMatch | CorrectedMatcher, pairs: list[Pair], subpixel: bool
) -> Tensor:
    """Return the end-point errors of all valid pixels, in pixels."""
    found = []
    for pair in pairs:
        image0, image1, flow = (torch.from_numpy(x).movedim(-1, 0)[None] for x in pair[:3])
        *_, field = matcher.fields(image0, image1)
        predicted = field.flow[:, 0].to(flow.dtype)
        if subpixel and isinstance(matcher, DifferentiablePatchMatch):
            predicted = matcher.subpixel_flow(image0, image1, field)
        _, valid = patch_ground_truth(flow, torch.from_numpy(pair[3])[None], LARGEST_PATCH)
        margin = LARGEST_PATCH // 2
        valid = torch.nn.functional.pad(valid, (margin,) * 4)
        found.append((predicted - flow).norm(dim=1)[valid])
    return torch.cat(found)


def load_matcher(path: Path) -> DifferentiablePatchMatch:
    """Return the matcher of a checkpoint."""
    checkpoint = read_checkpoint(path)
    settings = {k: v for k, v in checkpoint["hyper_parameters"].items() if k[0] != "_"}
    matcher = DifferentiablePatchMatch(**settings)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher.eval()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, help="folder of more images to warp")
    parser.add_argument("--flow", type=Path, help="folder of pairs with true flow")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--pairs", type=int, default=16, help="synthetic pairs of each set")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    data = WarpedPhotographs()
    data.setup("test")
    sets = {"test photographs": synthetic_pairs(data.sets["test"].sources, options.pairs)}
    if options.photographs is not None:
        sources = [load_rgb_image(path) for path in folder_images(options.photographs)]
        sets[options.photographs.name] = synthetic_pairs(sources, options.pairs)
    if options.flow is not None:
        sets[options.flow.name] = flow_pairs(options.flow)
    rows: dict[str, tuple[DifferentiablePatchMatch | CorrectedMatcher, bool]] = {}
    shipped = load_matcher(shipped_checkpoint(str(DifferentiablePatchMatch.shipped_weights)))
    for name, features in (("RGB patches", "rgb"), ("local contrast normalisation", "contrast")):
        for size in (7, 11):
            matcher = DifferentiablePatchMatch(features=features, patch_size=size)
            rows[f"{name} {size}x{size}"] = matcher, False
            if features == "rgb":
                label = f"{name} {size}x{size}, gain and offset removed"
                rows[label] = CorrectedMatcher(shipped, matcher), False
    torch.manual_seed(0)
    rows["features, initial"] = DifferentiablePatchMatch(**shipped.hparams), False
    for given in options.also:
        name, _, path = given.rpartition("=")
        rows[name or path] = load_matcher(Path(path)), False
    rows["features, trained"] = shipped, False
    rows["the same, subpixel"] = shipped, True
    console = Console(width=130)
    for title, pairs in sets.items():
        table = Table("EPE mean / median / < 1 px", *DEGRADATIONS, "CPU s a pair")
        for name, (matcher, subpixel) in rows.items():
            columns, start = [], time.process_time()
            for degradation in DEGRADATIONS:
                error = end_point_errors(matcher, degrade(pairs, degradation), subpixel)
                within = (error < 1).float().mean()
                columns.append(f"{error.mean():.2f} / {error.median():.2f} / {within:.1%}")
            seconds = (time.process_time() - start) / len(pairs) / len(DEGRADATIONS)
            table.add_row(name, *columns, f"{seconds:.2f}")
        table.title = f"{title}: {len(pairs)} pairs, {len(error):,} pixels"
        console.print(table)


if __name__ == "__main__":
    main()
