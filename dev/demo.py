"""Demo without downloads: train the shift matcher, predict on rendered frames, evaluate.

python3 dev/demo.py [--quick]

Trains on digits, draws the changes between frames of walking cows, and compares the boxes with the
ground truth. Files are written to data/ in the working directory.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.errors import InputError
from patchmatch.frames.evaluation import ChangeScores, score_changes

ROOT = Path(__file__).resolve().parents[1]
OUTPUT, LOGS = Path("data/output/demo"), Path("data/output/lightning_logs")
COWS = Path("data/images/cows")  # as in the configuration
STILL_SHARE = 0.95  # a block with less background and a moving cow is ambiguous
QUICK = ("--trainer.max_epochs", "1", "--data.train_pairs", "2560")


class StepError(Exception):
    """A failed step, with a message of one line and an exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps and return the exit code: 0, or that of the failed step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="train for one short epoch")
    args = parser.parse_args(argv)
    try:
        checkpoint = train(QUICK if args.quick else ())
        predict(checkpoint)
        scores = score_changes(OUTPUT / "changes.csv", COWS, still_share=STILL_SHARE)
    except StepError as error:
        message, code = error.args
        return stop(message, code)
    except InputError as error:
        return stop(str(error), 2)
    except KeyboardInterrupt:
        return stop("interrupted by the keyboard", 130)
    show(scores, checkpoint)
    return 0


def train(options: Sequence[str] = ()) -> Path:
    """Train, and return the best checkpoint of this run."""
    before = set(LOGS.glob("version_*"))
    run("fit", "config_patch_match_train.yaml", *options)
    checkpoints = [
        path
        for folder in set(LOGS.glob("version_*")) - before
        for path in folder.glob("checkpoints/*.ckpt")
        if path.name != "last.ckpt"
    ]
    if not checkpoints:
        raise StepError(f"training wrote no checkpoint to {LOGS}", 1)
    return max(checkpoints, key=lambda path: path.stat().st_mtime)


def predict(checkpoint: Path) -> None:
    """Render the cows if they are missing, and draw the changes between their frames."""
    run(
        "predict",
        "config_patch_match_predict_cows.yaml",
        *("--ckpt_path", str(checkpoint)),
        *("--writer.output_path", str(OUTPUT)),
        *("--writer.overwrite", "true"),
    )


def run(verb: str, config: str, *options: str) -> None:
    """Run a patchmatch command in a subprocess.

    Raises:
        StepError: If the command fails.
    """
    words = [verb, "--config", f"configs/{config}", *options]
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"\n$ python3 -m patchmatch {' '.join(words)}", style="bold"
    )
    words[2] = str(ROOT / "configs" / config)  # independent of the working directory
    # makes a checkout importable that is not installed
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    code = subprocess.run(
        [sys.executable, "-m", "patchmatch", *words],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    ).returncode
    if code:
        code = code if code > 0 else 128 - code  # terminated by a signal
        raise StepError(f"{verb} failed with exit code {code}; see its message above", code)


def stop(message: str, code: int) -> int:
    """Print why the demo ends early, in one line, and return its exit code."""
    sys.stdout.flush()
    sys.stderr.write(f"demo: {message}\n")
    return code


def show(scores: ChangeScores, checkpoint: Path) -> None:
    """Print the scores and the paths of the results."""
    table = Table(
        "",
        title=f"boxes of {scores.pairs} frame pairs compared with the ground truth",
        caption=f"a box is still if {STILL_SHARE:.0%} of it are still in both frames",
    )
    kinds = {"one pixel (green)": scores.one_pixel, "larger (red)": scores.larger}
    for name in kinds:
        table.add_column(name, justify="right")
    rows = {
        "boxes": lambda part: str(part.boxes),
        "  ambiguous (several motions)": lambda part: str(part.ambiguous),
        "  wrong: the box is still": lambda part: str(part.still),
        "  correct": lambda part: str(part.correct),
        "precision, without ambiguous": lambda part: percent(part.precision),
        "moving cows found": lambda part: f"{part.detected} of {part.objects}",
        "recall": lambda part: percent(part.recall),
    }
    for name, text in rows.items():
        table.add_row(name, *map(text, kinds.values()))
    table.add_row("displacement exact", percent(scores.exact_share), "")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print()
    console.print(table)
    console.print(f"images       {OUTPUT / 'topk_diffs'}")
    console.print(f"table        {OUTPUT / 'changes.csv'}")
    console.print(f"checkpoint   {checkpoint}")
    console.print(f"curves       tensorboard --logdir {LOGS}")


def percent(share: float) -> str:
    """Return a share as text, a dash for NaN."""
    return "-" if share != share else f"{100 * share:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
