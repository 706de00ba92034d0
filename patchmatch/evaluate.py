"""``patchmatch-eval PREDICTIONS TRUTH``: how good are the matches that a run has written?"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from patchmatch.core.errors import InputError
from patchmatch.io import write_csv, write_text_atomic
from patchmatch.pairs.benchmarks import read_benchmark
from patchmatch.pairs.evaluation import Protocol, read_predictions, score_benchmark

SHOWN = ("mma_1", "mma_3", "mma_5", "mma_10")  # of the accuracies; the files hold all ten


def main(arguments: Sequence[str] | None = None) -> None:
    """Score predictions, print a table and write it; mistakes end in one line and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        protocol = Protocol(
            options.resize,
            options.max_matches,
            options.threshold,
            options.pose_threshold,
            options.seed,
        )
        predictions = read_predictions(options.predictions)
        truth = read_benchmark(options.truth, options.exclude)
        rows, pairs = score_benchmark(truth, predictions, protocol)
        target = Path(options.output or options.predictions)
        columns = list(rows[0])
        told = (
            f"{protocol}; the field's eight sequences left out"
            if options.exclude
            else f"{protocol}"
        )
        stated = [{**_rounded(row), "protocol": told} for row in rows]
        write_csv(target / "evaluation.csv", [*columns, "protocol"], stated)
        write_csv(target / "evaluation_pairs.csv", list(pairs[0]), [_rounded(p) for p in pairs])
        content = {"protocol": told, "excluded": options.exclude, "groups": rows}
        write_text_atomic(target / "evaluation.json", json.dumps(content, indent=2) + "\n")
    except InputError as error:
        sys.stderr.write(f"patchmatch-eval: error: {error}\n")
        sys.exit(2)
    shown = [c for c in columns if not c.startswith("mma_") or c in SHOWN]
    table = Table(caption=told)
    for column in shown:
        side = "left" if column == "group" else "right"
        table.add_column(column.replace("_", " "), justify=side, no_wrap=column == "group")
    for row in rows:
        table.add_row(*(str(_rounded(row)[column]) for column in shown))
    console = Console(highlight=False, width=max(120, Console().width))
    console.print(table)
    if missing := sum(int(pair["missing"] == 1) for pair in pairs):
        console.print(f"{missing} of {len(pairs)} pairs have no prediction and count as failures")
    console.print(f"table     {target / 'evaluation.csv'}")


def _rounded(row: Mapping[str, object]) -> dict[str, object]:
    return {
        key: f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        for key, value in row.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patchmatch-eval", description=main.__doc__)
    parser.add_argument("predictions", help="folder of a run, with pairs/*/matches.npz")
    parser.add_argument("truth", help="HPatches, MegaDepth-1500 or ScanNet-1500 in its own layout")
    parser.add_argument("--exclude", action="store_true", help="leave the field's eight sequences")
    parser.add_argument("--resize", type=int, help="shorter side for corner errors (LoFTR: 480)")
    parser.add_argument("--max_matches", type=int, help="best matches to use (LoFTR: 1000)")
    parser.add_argument("--threshold", type=float, default=3.0, help="pixels of an inlier")
    parser.add_argument("--pose_threshold", type=float, default=0.5, help="the same for poses")
    parser.add_argument("--seed", type=int, default=0, help="of the random samples")
    parser.add_argument("--output", help="folder for the tables; PREDICTIONS by default")
    return parser


if __name__ == "__main__":
    main()
