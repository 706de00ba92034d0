"""Does what was learned on digits hold on photographs? The transfer table of docs/benchmarks.md.

python3 dev/benchmark_transfer.py
python3 dev/benchmark_transfer.py --images CCTV=FOLDER --images Middlebury=FOLDER
python3 dev/benchmark_transfer.py --ckpt_path A.ckpt B.ckpt C.ckpt   (trained with several seeds)

Every row is measured on the same pairs. Each figure is the mean over seeds (and checkpoints), in
percent of exactly right displacements; the line below the table is the worst single run.
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

from patchmatch import load_shift_matcher
from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, read_image, to_gray_float
from patchmatch.public.motion import LoadedShiftMatcher
from patchmatch.shift.transfer import (
    Pairs,
    PatchMatcher,
    cut_digit_pairs,
    cut_pairs,
    disturb,
    exact_share,
    match_by_ncc,
    match_by_ssd,
)
from patchmatch.synthetic.digits import load_digits, split_indices

CONDITIONS = {"clean": (0.0, 0.0), "noise 3": (3.0, 0.0), "noise 8, gain 10%": (8.0, 0.1)}
BY_HAND: dict[str, PatchMatcher] = {
    "SSD 3x3": match_by_ssd,
    "NCC 3x3": match_by_ncc,
    "NCC, 0.8 px blur": partial(match_by_ncc, blur=0.8),
    "the same, both ways": partial(match_by_ncc, blur=0.8, symmetric=True),
}
SKIMAGE = "astronaut brick camera cat chelsea coffee coins grass gravel moon page rocket text"


def learned(matcher: LoadedShiftMatcher) -> PatchMatcher:
    """Return a matcher of grey levels."""

    def match(patches0: np.ndarray, patches1: np.ndarray) -> np.ndarray:
        found = matcher.match_patches(patches0[:, None] / 255, patches1[:, None] / 255)
        return found.displacement.numpy()

    return match


def photographs(given: list[str]) -> dict[str, Callable[[], list[np.ndarray]]]:
    """Return the image sets by name: bundled photographs, and NAME=FOLDER as given."""
    sets: dict[str, Callable[[], list[np.ndarray]]] = {
        "scikit-image": _of_skimage,
        "scikit-learn": _of_sklearn,
    }
    for pair in given:
        name, _, folder = pair.partition("=")
        if not folder or not Path(folder).is_dir():
            raise InputError(f"{pair}: give --images NAME=FOLDER with a folder of images")
        sets[name] = partial(_of_folder, Path(folder))
    return sets


def _of_skimage() -> list[np.ndarray]:
    import skimage.data

    found = []
    for name in SKIMAGE.split():
        try:
            found.append(_gray(getattr(skimage.data, name)()))
        except (AttributeError, OSError, ValueError, ModuleNotFoundError):
            continue  # not bundled with this release, and downloads are not wanted
    return found


def _of_sklearn() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    return [_gray(image) for image in load_sample_images().images]


def _of_folder(folder: Path) -> list[np.ndarray]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return [_gray(read_image(path)) for path in paths]


def _gray(image: np.ndarray) -> np.ndarray:
    return np.round(255 * to_gray_float(image[..., :3] if image.ndim == 3 else image))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ckpt_path", nargs="*", default=[None], help="default: the shipped one")
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--pairs", type=int, default=4000, help="pairs a set and seed")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of places, shifts and noise")
    args = parser.parse_args()
    try:
        nets = [learned(load_shift_matcher(path)) for path in args.ckpt_path]
        sets = {name: load() for name, load in photographs(args.images).items()}
    except InputError as error:
        parser.error(str(error))
    rows: dict[str, list[PatchMatcher]] = {name: [match] for name, match in BY_HAND.items()}
    rows["patchmatch, digits only"] = nets
    table = Table("condition", "images", *rows, title="exactly right shifts, %")
    behind = []
    for condition, (noise, gain) in CONDITIONS.items():
        for name, images in sets.items():
            shares = {row: [] for row in rows}
            for seed in range(args.seeds):
                pairs = disturb(cut_pairs(images, args.pairs, seed), noise, gain, seed)
                for row, matchers in rows.items():
                    shares[row] += [exact_share(match, pairs) for match in matchers]
            table.add_row(condition, name, *(f"{np.mean(s):.2f}" for s in shares.values()))
            peers = next(s for row, s in shares.items() if row == "NCC, 0.8 px blur")
            worst = min(
                ours - peer
                for peer, group in zip(
                    peers,
                    np.array_split(shares["patchmatch, digits only"], args.seeds),
                    strict=True,
                )
                for ours in group
            )
            behind.append((worst, f"{name}, {condition}"))
    digits = load_digits("embedded", "data")
    held_out = digits[split_indices(len(digits), "test")]
    pairs = [cut_digit_pairs(held_out, args.pairs, seed) for seed in range(args.seeds)]
    blanked = [Pairs(0 * p.patches0, p.patches1, p.displacement) for p in pairs]
    for label, group in (
        ("held-out digits", pairs),
        ("held-out digits, first frame blank", blanked),
    ):
        shares = [
            np.mean([exact_share(match, p) for p in group for match in matchers])
            for matchers in rows.values()
        ]
        table.add_row(label, "MNIST", *(f"{share:.2f}" for share in shares))
    console = Console(width=130)
    console.print(table)
    margin, where = min(behind)
    console.print(f"least margin over blurred NCC in a single run: {margin:+.2f} points ({where})")


if __name__ == "__main__":
    main()
