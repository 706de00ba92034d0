"""``patchmatch-eval PREDICTIONS TRUTH``: evaluate the matches of a run on a benchmark."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from patchmatch.core.errors import InputError
from patchmatch.core.messages import write_any_text, write_error
from patchmatch.io import write_csv, write_text_atomic
from patchmatch.pairs.benchmarks import read_benchmark
from patchmatch.pairs.evaluation import Protocol, read_predictions, score_benchmark

PRINTED = ("mma_1", "mma_3", "mma_5", "mma_10")  # the files contain all ten thresholds


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate predictions, print a table and write it; wrong input ends with exit code 2."""
    write_any_text()
    options = _parser().parse_args(arguments)
    try:
        protocol = Protocol(
            resize=options.resize,
            max_matches=options.max_matches,
            threshold=options.threshold,
            pose_threshold=options.pose_threshold,
            seed=options.seed,
        )
        predictions = read_predictions(options.predictions)
        truth = read_benchmark(options.truth, options.exclude)
        rows, pairs = score_benchmark(truth, predictions, protocol)
        target = Path(options.output or options.predictions)
        columns = list(rows[0])
        settings = str(protocol)
        if options.exclude:
            settings += "; without the eight sequences that D2-Net excludes"
        table_rows = [{**_rounded(row), "protocol": settings} for row in rows]
        write_csv(target / "evaluation.csv", [*columns, "protocol"], table_rows)
        write_csv(target / "evaluation_pairs.csv", list(pairs[0]), [_rounded(p) for p in pairs])
        content = {"protocol": settings, "excluded": options.exclude, "groups": rows}
        write_text_atomic(target / "evaluation.json", json.dumps(content, indent=2) + "\n")
    except InputError as error:
        write_error("patchmatch-eval", error)
        sys.exit(2)
    printed = [c for c in columns if not c.startswith("mma_") or c in PRINTED]
    table = Table(caption=settings)
    for column in printed:
        side = "left" if column == "group" else "right"
        table.add_column(column.replace("_", " "), justify=side, no_wrap=column == "group")
    for row in rows:
        table.add_row(*(str(_rounded(row)[column]) for column in printed))
    console = Console(highlight=False, width=max(120, Console().width))
    console.print(table)
    if missing := sum(int(pair["missing"] == 1) for pair in pairs):
        console.print(f"{missing} of {len(pairs)} pairs have no prediction and count as failed")
    console.print(f"table     {target / 'evaluation.csv'}")


def _rounded(row: Mapping[str, object]) -> dict[str, object]:
    return {
        key: f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        for key, value in row.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patchmatch-eval", description=main.__doc__)
    parser.add_argument("predictions", help="output folder of a run, with pairs/*/matches.npz")
    parser.add_argument("truth", help="folder of HPatches, MegaDepth-1500 or ScanNet-1500")
    parser.add_argument(
        "--exclude",
        action="store_true",
        help="skip the eight sequences of HPatches that D2-Net excludes",
    )
    parser.add_argument(
        "--resize",
        type=int,
        help="shorter side in pixels at which homographies are evaluated (LoFTR: 480)",
    )
    parser.add_argument(
        "--max_matches", type=int, help="number of best matches to estimate from (LoFTR: 1000)"
    )
    parser.add_argument(
        "--threshold", type=float, default=3.0, help="inlier threshold of homographies in pixels"
    )
    parser.add_argument(
        "--pose_threshold", type=float, default=0.5, help="inlier threshold of poses in pixels"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random samples")
    parser.add_argument("--output", help="folder for the tables; default: PREDICTIONS")
    return parser


if __name__ == "__main__":
    main()
