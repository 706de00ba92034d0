r"""Finished reconstructions of the same pairs side by side, iteration by iteration.

patchmatch predict -c configs/config_reconstruct_predict.yaml --data.base_dir FOLDER \
    --model.preset plain --model.iterations 20 --writer.keep_iterations [1,5,10,20] \
    --writer.output_path RUN0
python3 dev/compare_reconstructions.py RUN0 RUN1
python3 dev/compare_reconstructions.py "PatchMatch=RUN0" "Differentiable PatchMatch=RUN1"

Reads tables and pictures that runs have written, never a matcher. Writes comparison.csv (every
pair and iteration, and the mean over pairs) and comparison.png (curves of the mean, and the
rebuilt pictures of each pair, a row for each run).
"""

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.errors import InputError
from patchmatch.draw import montage, shrink_to_fit
from patchmatch.io import read_csv, read_image, write_csv, write_image
from patchmatch.nnf.curves import draw_curves
from patchmatch.nnf.results import Step

MEASURES = ("ssd", "psnr", "ssim", "seconds")
COLUMNS = ("run", "name", "iteration", *MEASURES)
SIZES = ("width0", "height0", "width1", "height1", "patch_size")  # the same, or no comparison
MEAN = "mean"
BLANK = np.full((1, 1), 255, np.uint8)
TABLE, PICTURE = "comparison.csv", "comparison.png"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        label: What the comparison calls it.
        folder: Where it lies.
        pairs: The rows of its table, by the name of the pair.
    """

    label: str
    folder: Path
    pairs: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, text: str) -> "Run":
        """Open FOLDER or LABEL=FOLDER."""
        label, sign, folder = text.partition("=")
        if not sign or Path(text).is_dir():
            label, folder = Path(text).name, text
        path = Path(folder)
        table = path / "pairs.csv"
        if not table.is_file():
            raise InputError(
                f"{path}: holds no finished run of reconstructions (no pairs.csv); give the "
                "--writer.output_path of one"
            )
        rows = read_csv(table, ("name", *SIZES))
        return cls(label, path, {row["name"]: row for row in rows})

    def steps(self, pair: str) -> list[Step]:
        """Return what each iteration of a pair reached."""
        path = self.folder / "pairs" / pair / "iterations.csv"
        rows = read_csv(path, ("iteration", *MEASURES))
        try:
            return [
                Step(int(row["iteration"]), *(float(row[name] or "nan") for name in MEASURES))
                for row in rows
            ]
        except ValueError as error:
            raise InputError(f"{path}: is damaged ({error}); run the prediction again") from error

    def picture(self, pair: str, name: str) -> np.ndarray | None:
        """Return a picture of a pair; None where the run has not written it."""
        path = self.folder / "pairs" / pair / name
        return read_image(path) if path.is_file() else None

    def pictures(
        self, pair: str, steps: Sequence[Step], iterations: Sequence[int]
    ) -> list[tuple[str, np.ndarray | None]]:
        """Return caption and rebuilt picture for each of some iterations.

        Behind its last iteration a run shows what it ended with, once.
        """
        shown: dict[int, tuple[str, np.ndarray | None]] = {}
        last = steps[-1].iteration
        for which in (min(iteration, last) for iteration in iterations):
            name = "rebuilt_vote.png" if which == last else f"rebuilt_vote_{which}.png"
            picture = self.picture(pair, name)
            caption = f"{which}: {steps[which - 1].psnr:.2f} dB" if picture is not None else ""
            shown[which] = (caption, picture)
        return [*shown.values(), *[("", None)] * (len(iterations) - len(shown))]


def common_pairs(runs: Sequence[Run]) -> list[str]:
    """Return the pairs that every run has, in the order of the first.

    Raises:
        InputError: If there is none, or the runs saw one of them in another size.
    """
    labels = [run.label for run in runs]
    if len(set(labels)) < len(labels):
        raise InputError(f"two runs are called alike, {labels}; give LABEL=FOLDER")
    common = [name for name in runs[0].pairs if all(name in run.pairs for run in runs)]
    if not common:
        raise InputError(f"{runs[0].folder}: shares no pair with the other runs; give runs of one")
    for run in runs[1:]:
        for name in common:
            for column in SIZES:
                first, other = runs[0].pairs[name][column], run.pairs[name][column]
                if first != other:
                    raise InputError(
                        f"{run.folder}: {column} of {name} is {other}, and {first} in "
                        f"{runs[0].folder}; predict both with the same settings"
                    )
    return common


def mean_steps(curves: Sequence[Sequence[Step]]) -> list[Step]:
    """Return the mean over pairs, for the iterations that all of them have."""
    return [
        Step(steps[0].iteration, *(_mean([getattr(step, m) for step in steps]) for m in MEASURES))
        for steps in zip(*curves, strict=False)
    ]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan


def rows_of(run: str, name: str, steps: Sequence[Step]) -> list[dict[str, object]]:
    """Return the rows of comparison.csv of a pair in a run."""
    return [
        {"run": run, "name": name, "iteration": step.iteration}
        | {m: None if math.isnan(getattr(step, m)) else f"{getattr(step, m):.6g}" for m in MEASURES}
        for step in steps
    ]


def draw(
    runs: Sequence[Run],
    pairs: Sequence[str],
    steps: Mapping[tuple[str, str], Sequence[Step]],
    iterations: Sequence[int],
    size: int,
) -> np.ndarray:
    """Return the curves of the mean above the pictures of each pair.

    Args:
        runs: Each is a row of pictures.
        pairs: Names of the pairs to show.
        steps: By run and pair, the mean of all pairs among them.
        iterations: Each is a column of pictures.
        size: Longest side of a picture in pixels.
    """
    means = {run.label: steps[run.label, MEAN] for run in runs}
    parts = [draw_curves(means), draw_curves(means, against="seconds")]
    for pair in pairs:  # one by one, because they differ in size
        tiles: list[np.ndarray] = []
        captions: list[str] = []
        for run in runs:
            found = run.pictures(pair, steps[run.label, pair], iterations)
            original = run.picture(pair, "image0.png")
            for caption, picture in ((f"{pair}, {run.label}", original), *found):
                tiles.append(BLANK if picture is None else shrink_to_fit(picture, size))
                captions.append(caption)
        parts.append(montage(tiles, columns=len(iterations) + 1, gap=6, captions=captions))
    width = max(part.shape[1] for part in parts)
    sides = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    return np.concatenate(
        [np.pad(part, side, constant_values=255) for part, side in zip(parts, sides, strict=True)]
    )


def show(
    runs: Sequence[Run],
    pairs: int,
    steps: Mapping[tuple[str, str], Sequence[Step]],
    iterations: Sequence[int],
) -> None:
    """Print the mean over pairs after some iterations and after the last."""
    table = Table("run", "iteration", "SSD", "PSNR", "SSIM", "s", title=f"mean over {pairs} pairs")
    for run in runs:
        curve = steps[run.label, MEAN]
        for step in (s for s in curve if s.iteration in iterations or s is curve[-1]):
            numbers = f"{step.ssd:.6f}", f"{step.psnr:.2f}", f"{step.ssim:.4f}"
            table.add_row(run.label, str(step.iteration), *numbers, f"{step.seconds:.2f}")
    Console(width=100).print(table)


def compare(options: argparse.Namespace) -> None:
    """Read the runs, and write and print the comparison."""
    for name in (TABLE, PICTURE):
        if (options.output / name).exists() and not options.overwrite:
            raise InputError(
                f"{options.output / name}: exists already; give --overwrite, or another --output"
            )
    runs = [Run.read(text) for text in options.runs]
    pairs = common_pairs(runs)
    steps = {(run.label, pair): run.steps(pair) for run in runs for pair in pairs}
    for run in runs:
        steps[run.label, MEAN] = mean_steps([steps[run.label, pair] for pair in pairs])
    rows = [row for (label, name), curve in steps.items() for row in rows_of(label, name, curve)]
    write_csv(options.output / TABLE, COLUMNS, rows)
    shown = pairs[: options.pictures]
    picture = draw(runs, shown, steps, options.iterations, options.size)
    write_image(options.output / PICTURE, picture)
    show(runs, len(pairs), steps, options.iterations)
    missing = [
        run.label for run in runs if not any((run.folder / "pairs").glob("*/rebuilt_vote_*.png"))
    ]
    if missing:
        print(
            f"no pictures of {', '.join(missing)}: predict with --writer.keep_iterations "
            f"[{','.join(map(str, options.iterations))}]",
            file=sys.stderr,
        )
    print(f"written: {options.output / TABLE}, {options.output / PICTURE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="FOLDER or LABEL=FOLDER")
    parser.add_argument(
        "--iterations", type=int, nargs="+", default=[1, 5, 10, 20], help="which pictures to show"
    )
    parser.add_argument("--pictures", type=int, default=4, help="show so many pairs at most")
    parser.add_argument("--size", type=int, default=320, help="longest side of a picture")
    parser.add_argument("--output", type=Path, default=Path("data/comparison"))
    parser.add_argument("--overwrite", action="store_true", help="replace a former comparison")
    try:
        compare(parser.parse_args(argv))
    except InputError as error:
        print(f"compare_reconstructions: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
