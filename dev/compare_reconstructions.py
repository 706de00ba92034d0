r"""Compare finished reconstructions of the same pairs, iteration by iteration.

patchmatch predict -c reconstruct --data.base_dir FOLDER \
    --model.preset plain --model.iterations 20 --writer.keep_iterations [1,5,10,20] \
    --writer.output_path RUN0
python3 dev/compare_reconstructions.py RUN0 RUN1
python3 dev/compare_reconstructions.py "PatchMatch=RUN0" "Differentiable PatchMatch=RUN1"

Reads the tables and images of the runs and needs no matcher. Writes comparison.csv (every pair and
iteration, and the mean over pairs) and comparison.png (curves of the mean, and the reconstructed
images of each pair, a row for each run).
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
from patchmatch.nnf.results import IterationMetrics

METRICS = ("ssd", "psnr", "ssim", "seconds")
COLUMNS = ("run", "name", "iteration", *METRICS)
SIZES = ("width0", "height0", "width1", "height1", "patch_size")  # must be equal in all runs
MEAN = "mean"
BLANK = np.full((1, 1), 255, np.uint8)
TABLE, IMAGE = "comparison.csv", "comparison.png"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        label: Name of the run in the comparison.
        folder: Output folder of the run.
        pairs: Rows of its table, by the name of the pair.
    """

    label: str
    folder: Path
    pairs: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, text: str) -> "Run":
        """Read a run given as FOLDER or LABEL=FOLDER."""
        label, sign, folder = text.partition("=")
        if not sign or Path(text).is_dir():
            label, folder = Path(text).name, text
        path = Path(folder)
        table = path / "pairs.csv"
        if not table.is_file():
            raise InputError(
                f"{path}: not a finished run of reconstructions (no pairs.csv); give the "
                "--writer.output_path of one"
            )
        rows = read_csv(table, ("name", *SIZES))
        return cls(label=label, folder=path, pairs={row["name"]: row for row in rows})

    def history(self, pair: str) -> list[IterationMetrics]:
        """Return the metrics of each iteration of a pair."""
        path = self.folder / "pairs" / pair / "iterations.csv"
        rows = read_csv(path, ("iteration", *METRICS))
        try:
            return [
                IterationMetrics(
                    iteration=int(row["iteration"]),
                    **{name: float(row[name] or "nan") for name in METRICS},
                )
                for row in rows
            ]
        except ValueError as error:
            raise InputError(
                f"{path}: invalid value ({error}); run the prediction again"
            ) from error

    def image(self, pair: str, name: str) -> np.ndarray | None:
        """Return an image of a pair; None if the run has not written it."""
        path = self.folder / "pairs" / pair / name
        return read_image(path) if path.is_file() else None

    def images(
        self, pair: str, history: Sequence[IterationMetrics], iterations: Sequence[int]
    ) -> list[tuple[str, np.ndarray | None]]:
        """Return caption and reconstructed image for each of the given iterations.

        Iterations beyond the last one are replaced by the final image, once.
        """
        shown: dict[int, tuple[str, np.ndarray | None]] = {}
        last = history[-1].iteration
        for which in (min(iteration, last) for iteration in iterations):
            name = "rebuilt_vote.png" if which == last else f"rebuilt_vote_{which}.png"
            image = self.image(pair, name)
            caption = f"{which}: {history[which - 1].psnr:.2f} dB" if image is not None else ""
            shown[which] = (caption, image)
        return [*shown.values(), *[("", None)] * (len(iterations) - len(shown))]


def common_pairs(runs: Sequence[Run]) -> list[str]:
    """Return the pairs of all runs, in the order of the first.

    Raises:
        InputError: If there are no common pairs, or their sizes differ between the runs.
    """
    labels = [run.label for run in runs]
    if len(set(labels)) < len(labels):
        raise InputError(f"labels of runs must differ, got {labels}; give LABEL=FOLDER")
    common = [name for name in runs[0].pairs if all(name in run.pairs for run in runs)]
    if not common:
        raise InputError(
            f"{runs[0].folder}: no pair in common with the other runs; give runs of the same pairs"
        )
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


def mean_history(histories: Sequence[Sequence[IterationMetrics]]) -> list[IterationMetrics]:
    """Return the mean over pairs, for the iterations that all of them have."""
    return [
        IterationMetrics(
            iteration=pairs[0].iteration,
            **{name: _mean([getattr(metrics, name) for metrics in pairs]) for name in METRICS},
        )
        for pairs in zip(*histories, strict=False)
    ]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan


def table_rows(run: str, name: str, history: Sequence[IterationMetrics]) -> list[dict[str, object]]:
    """Return the rows of comparison.csv for a pair of a run."""
    return [
        {"run": run, "name": name, "iteration": metrics.iteration}
        | {m: None if math.isnan(v := getattr(metrics, m)) else f"{v:.6g}" for m in METRICS}
        for metrics in history
    ]


def draw(
    runs: Sequence[Run],
    pairs: Sequence[str],
    histories: Mapping[tuple[str, str], Sequence[IterationMetrics]],
    iterations: Sequence[int],
    size: int,
) -> np.ndarray:
    """Return an image with the mean curves, and below them the images of each pair.

    Args:
        runs: Runs, a row of images each.
        pairs: Names of the pairs to show.
        histories: Metrics by run and pair, and the mean over all pairs.
        iterations: Iterations, a column of images each.
        size: Longest side of an image in pixels.
    """
    means = {run.label: histories[run.label, MEAN] for run in runs}
    parts = [draw_curves(means), draw_curves(means, against="seconds")]
    for pair in pairs:  # a montage for each, because sizes differ
        tiles: list[np.ndarray] = []
        captions: list[str] = []
        for run in runs:
            found = run.images(pair, histories[run.label, pair], iterations)
            original = run.image(pair, "image0.png")
            for caption, image in ((f"{pair}, {run.label}", original), *found):
                tiles.append(BLANK if image is None else shrink_to_fit(image, size))
                captions.append(caption)
        parts.append(montage(tiles, columns=len(iterations) + 1, gap=6, captions=captions))
    width = max(part.shape[1] for part in parts)
    sides = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    return np.concatenate(
        [np.pad(part, side, constant_values=255) for part, side in zip(parts, sides, strict=True)]
    )


def print_means(
    runs: Sequence[Run],
    pairs: int,
    histories: Mapping[tuple[str, str], Sequence[IterationMetrics]],
    iterations: Sequence[int],
) -> None:
    """Print the mean over pairs after the given iterations and after the last one."""
    table = Table("run", "iteration", "SSD", "PSNR", "SSIM", "s", title=f"mean over {pairs} pairs")
    for run in runs:
        history = histories[run.label, MEAN]
        for metrics in (m for m in history if m.iteration in iterations or m is history[-1]):
            numbers = f"{metrics.ssd:.6f}", f"{metrics.psnr:.2f}", f"{metrics.ssim:.4f}"
            table.add_row(run.label, str(metrics.iteration), *numbers, f"{metrics.seconds:.2f}")
    Console(width=100).print(table)


def compare(options: argparse.Namespace) -> None:
    """Read the runs; write and print the comparison."""
    for name in (TABLE, IMAGE):
        if (options.output / name).exists() and not options.overwrite:
            raise InputError(
                f"{options.output / name}: already exists; give --overwrite, or another --output"
            )
    runs = [Run.read(text) for text in options.runs]
    pairs = common_pairs(runs)
    histories = {(run.label, pair): run.history(pair) for run in runs for pair in pairs}
    for run in runs:
        histories[run.label, MEAN] = mean_history([histories[run.label, pair] for pair in pairs])
    rows = [row for (label, name), h in histories.items() for row in table_rows(label, name, h)]
    write_csv(options.output / TABLE, COLUMNS, rows)
    shown = pairs[: options.pictures]
    image = draw(runs, shown, histories, options.iterations, options.size)
    write_image(options.output / IMAGE, image)
    print_means(runs, len(pairs), histories, options.iterations)
    missing = [
        run.label for run in runs if not any((run.folder / "pairs").glob("*/rebuilt_vote_*.png"))
    ]
    if missing:
        print(
            f"no images of {', '.join(missing)}: predict with --writer.keep_iterations "
            f"[{','.join(map(str, options.iterations))}]",
            file=sys.stderr,
        )
    print(f"written: {options.output / TABLE}, {options.output / IMAGE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="FOLDER or LABEL=FOLDER")
    parser.add_argument(
        "--iterations",
        type=int,
        nargs="+",
        default=[1, 5, 10, 20],
        help="iterations whose images are shown",
    )
    parser.add_argument(
        "--pictures", type=int, default=4, help="largest number of pairs that are shown"
    )
    parser.add_argument("--size", type=int, default=320, help="longest side of an image in pixels")
    parser.add_argument("--output", type=Path, default=Path("data/comparison"))
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison")
    try:
        compare(parser.parse_args(argv))
    except InputError as error:
        print(f"compare_reconstructions: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
