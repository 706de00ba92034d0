"""What are features worth that were trained through the search? A table of docs/benchmarks.md.

python3 dev/benchmark_differentiable.py [--photographs FOLDER] [--flow FOLDER] [--also NAME=CKPT]

Pairs are warped from the photographs of scikit-image and scikit-learn that training left out, from
those of a folder as well if one is given, and taken from a folder of folders, each with two
pictures, in order, and the true flow (.flo). Every row is the same search with the same budget:
Differentiable PatchMatch over all of image 1, whole pixels; only what it compares differs. "Light
undone": image 0 has been made as bright as image 1 by the light that the trained features tell.
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
from patchmatch.nnf.differentiable.loss import known_flow
from patchmatch.nnf.differentiable.matcher import DifferentiablePatchMatch
from patchmatch.nnf.differentiable.warped_pairs import WarpedPairs, WarpedPhotographs, lands_inside
from patchmatch.nnf.gain_offset import apply_gain_offset
from patchmatch.nnf.patches import Field
from patchmatch.synthetic.photographs import folder_images, load_rgb_image

SIDE, SHIFT = 128, 20.0  # pixels, of the made pairs
WIDEST = 11  # pixels: no row is asked about pixels nearer to the border than half of it
Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # images in [0, 1], flow, valid
DISTURBANCES: dict[str, Callable[[np.ndarray, np.random.Generator, int], np.ndarray]] = {
    "clean": lambda image, *_: image,
    "noise 8": lambda image, rng, _: image + rng.normal(0, 8 / 255, image.shape),
    "gain 0.7": lambda image, _, later: image * 0.7 if later else image,
    "gain 1.4": lambda image, _, later: image * 1.4 if later else image,
    "blur 1.5": lambda image, _, later: cv2.GaussianBlur(image, (0, 0), 1.5) if later else image,
}


class Relit:
    """A matcher for which the light was undone that another has found."""

    def __init__(self, finder: DifferentiablePatchMatch, matcher: DifferentiablePatchMatch) -> None:
        self.finder, self.matcher = finder, matcher

    def fields(self, image0: Tensor, image1: Tensor) -> Iterator[Field]:
        """Yield the fields of the matcher."""
        light = self.finder.find_light(image0, image1)
        return self.matcher.fields(apply_gain_offset(image0, light), image1)


def made_pairs(pictures: list[np.ndarray], count: int) -> list[Pair]:
    """Return clean warped pairs of pictures."""
    made = WarpedPairs(pictures, count, 2, SIDE, SHIFT, disturbed=None)
    names = ("image0", "image1", "flow")
    items = [made[i] for i in range(count)]
    return [
        (*(item[name].movedim(0, -1).numpy() for name in names), item["valid"].numpy())
        for item in items
    ]


def true_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder of folders, halved until at most 320 pixels wide."""
    pairs = []
    for path in sorted(folder.rglob("*.flo")):
        pictures = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(pictures) != 2:
            raise SystemExit(f"{path.parent}: must hold two pictures, holds {len(pictures)}")
        images = [to_rgb_uint8(read_image(p)).astype(np.float32) / 255 for p in pictures]
        flow, valid = read_flo(path)
        flow = np.where(valid[..., None], flow, 0)
        while images[0].shape[1] > 320:
            height, width = (side // 2 * 2 for side in flow.shape[:2])
            cells = (height // 2, 2, width // 2, 2)
            images = [i[:height, :width].reshape(*cells, 3).mean(axis=(1, 3)) for i in images]
            flow = flow[:height, :width].reshape(*cells, 2).mean(axis=(1, 3)) / 2
            valid = valid[:height, :width].reshape(cells).all(axis=(1, 3))
        pairs.append((images[0], images[1], flow, valid & lands_inside(flow)))
    return pairs


def disturbed(pairs: list[Pair], name: str) -> list[Pair]:
    """Return the pairs as stored pictures after a disturbance."""
    changed = []
    for number, (image0, image1, flow, valid) in enumerate(pairs):
        rng = np.random.default_rng((3, number))
        seen = [
            (DISTURBANCES[name](image, rng, later) * 255).clip(0, 255).round() / 255
            for later, image in enumerate((image0, image1))
        ]
        changed.append((seen[0].astype(np.float32), seen[1].astype(np.float32), flow, valid))
    return changed


@torch.inference_mode()
def errors(matcher: DifferentiablePatchMatch | Relit, pairs: list[Pair], soft: bool) -> Tensor:
    """Return the endpoint errors of all pixels whose match is known, in pixels."""
    found = []
    for pair in pairs:
        image0, image1, flow = (torch.from_numpy(x).movedim(-1, 0)[None] for x in pair[:3])
        *_, field = matcher.fields(image0, image1)
        answer = field.flow[:, 0].to(flow.dtype)
        if soft and isinstance(matcher, DifferentiablePatchMatch):
            answer = matcher.between_pixels(image0, image1, field)
        _, known = known_flow(flow, torch.from_numpy(pair[3])[None], WIDEST)
        inside = torch.zeros(1, *flow.shape[2:], dtype=torch.bool)
        margin = WIDEST // 2
        inside[:, margin : -margin or None, margin : -margin or None] = known
        found.append((answer - flow).norm(dim=1)[inside])
    return torch.cat(found)


def trained(path: Path) -> DifferentiablePatchMatch:
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
    parser.add_argument("--photographs", type=Path, help="folder of other pictures to warp")
    parser.add_argument("--flow", type=Path, help="folder of pairs with true flow")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--pairs", type=int, default=16, help="made pairs of each set")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    data = WarpedPhotographs()
    data.setup("test")
    sets = {"held-out photographs": made_pairs(data.sets["test"].pictures, options.pairs)}
    if options.photographs is not None:
        pictures = [load_rgb_image(path) for path in folder_images(options.photographs)]
        sets[options.photographs.name] = made_pairs(pictures, options.pairs)
    if options.flow is not None:
        sets[options.flow.name] = true_pairs(options.flow)
    rows: dict[str, tuple[DifferentiablePatchMatch | Relit, bool]] = {}
    shipped = trained(shipped_checkpoint(str(DifferentiablePatchMatch.shipped_weights)))
    for name, kind in (("RGB patches", "rgb"), ("even contrast", "contrast")):
        for size in (7, 11):
            matcher = DifferentiablePatchMatch(features=kind, patch_size=size)
            rows[f"{name} {size}x{size}"] = matcher, False
            if kind == "rgb":
                rows[f"{name} {size}x{size}, light undone"] = Relit(shipped, matcher), False
    torch.manual_seed(0)
    rows["features, untrained"] = DifferentiablePatchMatch(**shipped.hparams), False
    for given in options.also:
        name, _, path = given.rpartition("=")
        rows[name or path] = trained(Path(path)), False
    rows["features, trained"] = shipped, False
    rows["the same, between pixels"] = shipped, True
    console = Console(width=130)
    for title, pairs in sets.items():
        table = Table("EPE mean / median / < 1 px", *DISTURBANCES, "CPU s a pair")
        for name, (matcher, soft) in rows.items():
            cells, start = [], time.process_time()
            for disturbance in DISTURBANCES:
                error = errors(matcher, disturbed(pairs, disturbance), soft)
                within = (error < 1).float().mean()
                cells.append(f"{error.mean():.2f} / {error.median():.2f} / {within:.1%}")
            seconds = (time.process_time() - start) / len(pairs) / len(DISTURBANCES)
            table.add_row(name, *cells, f"{seconds:.2f}")
        table.title = f"{title}: {len(pairs)} pairs, {len(error):,} pixels"
        console.print(table)


if __name__ == "__main__":
    main()
