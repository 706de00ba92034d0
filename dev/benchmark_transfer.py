"""Measure the transfer of the shift matcher from digits to photographs.

python3 dev/benchmark_transfer.py
python3 dev/benchmark_transfer.py --images CCTV=FOLDER --images Middlebury=FOLDER
python3 dev/benchmark_transfer.py --ckpt_path A.ckpt B.ckpt C.ckpt   (of several seeds and nets)
python3 dev/benchmark_transfer.py --peers   (trains plain 3D CNNs first, for five minutes)

Prints the tables of docs/shift.md: the percentage of exactly right displacements, as the mean over
seeds and checkpoints. All methods match the same pairs. The line below the table is the worst run.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shift_peers import PEERS

from patchmatch import load_shift_matcher
from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, read_image, to_gray_float
from patchmatch.public.motion import LoadedShiftMatcher
from patchmatch.shift.transfer import (
    PatchMatcher,
    PatchPairs,
    add_noise_and_gain,
    match_ncc,
    match_ssd,
    percent_exact,
    sample_digit_pairs,
    sample_pairs,
)
from patchmatch.synthetic.digits import load_digits, split_indices

CONDITIONS = {"clean": (0.0, 0.0), "noise 3": (3.0, 0.0), "noise 8, gain 10%": (8.0, 0.1)}
BLURRED_NCC = "NCC, 0.8 px blur"
BASELINES: dict[str, PatchMatcher] = {
    "SSD 3x3": match_ssd,
    "NCC 3x3": match_ncc,
    BLURRED_NCC: partial(match_ncc, blur=0.8),
    "NCC, 0.8 px blur, symmetric": partial(match_ncc, blur=0.8, symmetric=True),
}
SKIMAGE = "astronaut brick camera cat chelsea coffee coins grass gravel moon page rocket text"


def trained(matcher: LoadedShiftMatcher) -> PatchMatcher:
    """Return a shift matcher as a function of gray levels."""

    def match(patches0: np.ndarray, patches1: np.ndarray) -> np.ndarray:
        found = matcher.match_patches(patches0[:, None] / 255, patches1[:, None] / 255)
        return found.displacement.numpy()

    return match


def image_sets(options: list[str]) -> dict[str, Callable[[], list[np.ndarray]]]:
    """Return the loaders of the image sets: bundled photographs, and each option NAME=FOLDER."""
    sets = dict(BUNDLED)
    for option in options:
        name, _, folder = option.partition("=")
        if not folder or not Path(folder).is_dir():
            raise InputError(f"{option}: no such folder; give --images NAME=FOLDER")
        sets[name] = partial(_folder, Path(folder))
    return sets


def _skimage() -> list[np.ndarray]:
    import skimage.data

    images = []
    for name in SKIMAGE.split():
        try:
            images.append(_gray(getattr(skimage.data, name)()))
        except (AttributeError, OSError, ValueError, ModuleNotFoundError):
            continue  # not bundled with this release; do not download it
    return images


def _sklearn() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    return [_gray(image) for image in load_sample_images().images]


BUNDLED: dict[str, Callable[[], list[np.ndarray]]] = {
    "scikit-image": _skimage,
    "scikit-learn": _sklearn,
}


def _folder(folder: Path) -> list[np.ndarray]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return [_gray(read_image(path)) for path in paths]


def _gray(image: np.ndarray) -> np.ndarray:
    return np.round(255 * to_gray_float(image[..., :3] if image.ndim == 3 else image))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--ckpt_path", nargs="*", default=[None], help="checkpoints; default: the shipped weights"
    )
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--pairs", type=int, default=4000, help="number of pairs per set and seed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of the pairs")
    parser.add_argument("--peers", action="store_true", help="train and compare plain 3D CNNs")
    args = parser.parse_args()
    try:
        matchers = [load_shift_matcher(path) for path in args.ckpt_path]
        sets = {name: load() for name, load in image_sets(args.images).items()}
    except InputError as error:
        parser.error(str(error))
    methods = {name: [match] for name, match in BASELINES.items()}
    if args.peers:
        methods |= {name: [train()] for name, train in PEERS.items()}
    nets: dict[str, list[PatchMatcher]] = {}
    for matcher in matchers:
        nets.setdefault(str(matcher.matcher.hparams["net"]), []).append(trained(matcher))
    methods |= nets
    table = Table("condition", "images", *methods, title="exactly right shifts, %")
    margins = []
    for condition, (noise, gain) in CONDITIONS.items():
        for name, images in sets.items():
            scores: dict[str, list[list[float]]] = {method: [] for method in methods}
            for seed in range(args.seeds):
                pairs = add_noise_and_gain(
                    sample_pairs(images, args.pairs, seed), noise, gain, seed
                )
                for method, matchers in methods.items():
                    scores[method].append([percent_exact(match, pairs) for match in matchers])
            table.add_row(condition, name, *(f"{np.mean(s):.2f}" for s in scores.values()))
            for net in nets:
                margin = np.min(np.array(scores[net]) - np.array(scores[BLURRED_NCC]))
                margins.append((margin, f"{net}, {name}, {condition}"))
    digits = load_digits("embedded", "data")
    held_out = digits[split_indices(len(digits), "test")]
    digit_pairs = [sample_digit_pairs(held_out, args.pairs, seed) for seed in range(args.seeds)]
    blanked = [
        PatchPairs(patches0=0 * p.patches0, patches1=p.patches1, displacement=p.displacement)
        for p in digit_pairs
    ]
    for label, group in (
        ("held-out digits", digit_pairs),
        ("held-out digits, first frame blank", blanked),
    ):
        means = [
            np.mean([percent_exact(match, p) for p in group for match in matchers])
            for matchers in methods.values()
        ]
        table.add_row(label, "MNIST", *(f"{mean:.2f}" for mean in means))
    console = Console(width=130)
    console.print(table)
    margin, where = min(margins)
    console.print(f"least margin over blurred NCC in a single run: {margin:+.2f} points ({where})")


if __name__ == "__main__":
    main()
