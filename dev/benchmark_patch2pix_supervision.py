"""Epipolar against dense supervision of Patch2Pix: the same pairs, steps and initial weights.

python3 dev/benchmark_patch2pix_supervision.py [--steps 256] [--side 128] [--pairs 64]

Both trainings start from the same random regressors. The rows are shares of the proposals of
validation scenes, whose photographs are not used for training, within 1 and 3 pixels of the true
correspondence.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import torch
from pytorch_lightning import Trainer, seed_everything
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.pairs.patch2pix.data import EpipolarPairs
from patchmatch.pairs.patch2pix.matcher import SUPERVISIONS, Patch2PixMatcher

BATCH = 4  # pairs
STAGES = ("coarse", "mid", "fine")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--precision", default="bf16-mixed")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table = Table("supervision", "seconds", *(f"{s} {t} px" for s in STAGES for t in (1, 3)))
    for supervision in SUPERVISIONS:
        seed_everything(0, verbose=False)
        matcher = Patch2PixMatcher(supervision=supervision)
        data = EpipolarPairs(
            side=options.side, train_pairs=BATCH * options.steps, eval_pairs=options.pairs
        )
        trainer = Trainer(
            max_epochs=1, precision=options.precision, gradient_clip_val=1.0, logger=False,
            limit_val_batches=0, num_sanity_val_steps=0, enable_checkpointing=False,
            enable_model_summary=False,
        )  # fmt: skip
        start = time.process_time()
        trainer.fit(matcher, data)
        seconds = time.process_time() - start
        judge = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
        found = judge.validate(matcher, data, verbose=False)[0]
        shares = [f"{found[f'val/{s}_{t}']:.3f}" for s in STAGES for t in (1, 3)]
        table.add_row(supervision, f"{seconds:.0f}", *shares)
        print(supervision, f"{seconds:.0f} s", *shares, file=sys.stderr, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
