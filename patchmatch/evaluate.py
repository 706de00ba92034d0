"""``patchmatch-eval RUN TRUTH``: evaluate the files of a run against ground truth."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn, warnings_as_lines, write_any_text, write_error
from patchmatch.frames.box_evaluation import score_boxes
from patchmatch.frames.evaluation import score_changes
from patchmatch.frames.evaluation_files import MASKS
from patchmatch.frames.flow_evaluation import score_flow
from patchmatch.io import write_csv, write_text_atomic
from patchmatch.io.manifest import add_to_run
from patchmatch.objects.evaluation import score_objects
from patchmatch.pairs.benchmarks import read_benchmark
from patchmatch.pairs.evaluation import Protocol, read_predictions, score_benchmark
from patchmatch.stereo.evaluation import score_disparity
from patchmatch.templates.evaluation import score_templates

PRINTED = ("mma_1", "mma_3", "mma_5", "mma_10")  # the files contain all ten thresholds
Rows = list[dict[str, object]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate the files of a run, print a table and write it; wrong input ends with exit code 2.

    Matches are compared with a benchmark, changes with masks of moving objects, true boxes, true
    flow or the ground truth of rendered frames, detections of templates with true boxes, moving
    objects with true tracks or masks, disparity with true disparity.
    """
    write_any_text()
    options = _parser().parse_args(arguments)
    skipped: list[str] = []
    try:
        rows, details, settings = _evaluate(options, skipped)
        target = Path(options.output or options.predictions)
        columns = list(rows[0])
        table_rows = [{**_rounded(row), "protocol": settings} for row in rows]
        write_csv(target / "evaluation.csv", [*columns, "protocol"], table_rows)
        if details:
            detail_rows = [_rounded(row) for row in details]
            write_csv(target / "evaluation_pairs.csv", list(details[0]), detail_rows)
        content = {"protocol": settings, "excluded": options.exclude, "groups": rows}
        content |= {"skipped": skipped} if skipped else {}
        write_text_atomic(target / "evaluation.json", json.dumps(content, indent=2) + "\n")
        if target == Path(options.predictions):
            add_to_run(target, ("evaluation.csv", "evaluation_pairs.csv", "evaluation.json"))
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
    console = Console(highlight=False, markup=False, width=max(120, Console().width))
    console.print(table)
    with warnings_as_lines():
        for note in skipped:
            warn(note)
    if missing := sum(int(row.get("missing") == 1) for row in details):
        console.print(f"{missing} of {len(details)} pairs have no prediction and count as failed")
    console.print(f"table     {target / 'evaluation.csv'}", soft_wrap=True)


def _evaluate(options: argparse.Namespace, skipped: list[str]) -> tuple[Rows, Rows, str]:
    """Return the table, its details and the protocol, by what the run contains."""
    run, truth = Path(options.predictions), Path(options.truth)
    if not run.is_dir():
        found = "expected a folder, got a file" if run.exists() else "no such folder"
        raise InputError(f"{run}: {found}; give the --writer.output_path of a run")
    if (run / "boxes.csv").is_file():
        return *score_templates(run, truth), "boxes of templates; found from an IoU of 0.5"
    if (run / "objects.csv").is_file():
        if not truth.exists():
            raise InputError(f"{truth}: no such file or folder; check the path")
        return score_objects(run, truth, options.frame_offset)
    if (run / "changes.csv").is_file():
        return _evaluate_frames(run, truth, options.frame_offset, skipped)
    if next(run.glob("pairs/**/disparity.pfm"), None) is not None:
        protocol = "disparity in pixels; all pixels with known truth"
        return *score_disparity(run, truth, skipped), protocol
    return _evaluate_matches(options, skipped)


def _evaluate_frames(
    run: Path, truth: Path, offset: int, skipped: list[str]
) -> tuple[Rows, Rows, str]:
    if (truth / MASKS).is_file():
        scores = score_changes(run / "changes.csv", truth)
        kinds = (("one_pixel", scores.one_pixel), ("larger", scores.larger))
        rows: Rows = [
            {"group": name, **vars(k), "precision": k.precision, "recall": k.recall}
            for name, k in kinds
        ]
        return rows, [], f"rendered frames, {scores.pairs} pairs; ambiguous blocks are not counted"
    if truth.suffix == ".flo" or any(truth.rglob("*.flo")):
        if not (run / "flow").is_dir():
            raise InputError(f"{run}: has no flow; predict with --writer.formats [flo]")
        return *score_flow(run, truth, skipped), "endpoint error in pixels, where both are known"
    if not truth.exists():
        raise InputError(f"{truth}: no such file or folder; check the path")
    rows, details = score_boxes(run, truth, offset)
    return rows, details, "boxes of the earlier frames; frames with ground truth only"


def _evaluate_matches(options: argparse.Namespace, skipped: list[str]) -> tuple[Rows, Rows, str]:
    protocol = Protocol(
        resize=options.resize,
        max_matches=options.max_matches,
        threshold=options.threshold,
        pose_threshold=options.pose_threshold,
        seed=options.seed,
    )
    predictions = read_predictions(options.predictions)
    truth = read_benchmark(options.truth, options.exclude, skipped)
    if not truth:
        raise InputError(f"{options.truth}: no sequence is complete; first: {skipped[0]}")
    rows, pairs = score_benchmark(truth, predictions, protocol)
    settings = str(protocol)
    if options.exclude:
        settings += "; without the eight sequences that D2-Net excludes"
    return rows, pairs, settings


def _rounded(row: Mapping[str, object]) -> dict[str, object]:
    return {key: _as_text(value) for key, value in row.items()}


def _as_text(value: object) -> object:
    """Return a float with four decimals at most; empty for NaN."""
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")


class _Parser(argparse.ArgumentParser):
    """Ends with one line, without the usage, as ``patchmatch`` does."""

    def error(self, message: str) -> NoReturn:
        write_error(self.prog, InputError(f"{message}; see --help"))
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="patchmatch-eval", description=main.__doc__)
    parser.add_argument("predictions", help="output folder of a run")
    parser.add_argument(
        "truth",
        help=(
            "matches: folder of HPatches, MegaDepth-1500 or ScanNet-1500; changes: folder of "
            "masks, csv of true boxes, .flo files, or rendered frames; templates: csv of true "
            "boxes; moving objects: csv or MOTChallenge text of true boxes, or folder of masks; "
            "stereo: folder of NAME.pfm, .png or .npz"
        ),
    )
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
        "--threshold",
        type=float,
        default=3.0,
        help="inlier threshold of homographies in pixels (default 3)",
    )
    parser.add_argument(
        "--pose_threshold",
        type=float,
        default=0.5,
        help="inlier threshold of poses in pixels (default 0.5)",
    )
    parser.add_argument(
        "--frame_offset",
        type=int,
        default=0,
        help=(
            "changes and objects: added to the frame numbers of the run to get those of masks or "
            "boxes"
        ),
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random samples (default 0)")
    parser.add_argument("--output", help="folder for the tables; by default that of the run")
    return parser


if __name__ == "__main__":
    main()
