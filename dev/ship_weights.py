"""Copy a trained checkpoint to the weights that the package ships.

python3 dev/ship_weights.py data/output/lightning_logs/version_0/checkpoints/FILE.ckpt

Keeps weights and settings, removes the state of the optimizer.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.io import atomic_path
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.nnf.differentiable.matcher import DifferentiablePatchMatch
from patchmatch.pairs.homography.matcher import HomographyNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.patch2pix.matcher import Patch2PixMatcher
from patchmatch.pairs.patch2pix.ncnet import NCNetMatcher
from patchmatch.shift.matcher import ShiftMatcher
from patchmatch.stereo.matcher import StereoMatcher

KEPT = ("state_dict", "hyper_parameters", "pytorch-lightning_version", "epoch", "global_step")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    checkpoint_path = parser.parse_args().checkpoint
    checkpoint = read_checkpoint(checkpoint_path)
    name = str(checkpoint["hyper_parameters"].get("_class_path", "")).rpartition(".")[2]
    kinds = (
        DifferentiablePatchMatch,
        HomographyNetMatcher,
        MotionMatcher,
        ShiftMatcher,
        StereoMatcher,
    )
    shipped = {kind.__name__: kind.shipped_weights for kind in kinds}
    shipped |= {
        kind.__name__: kind.shipped
        for kind in (LoFTRMatcher, NCNetMatcher, Patch2PixMatcher, SE2LoFTRMatcher)
    }
    if name not in shipped:
        parser.error(
            f"{checkpoint_path}: expected a checkpoint of {', '.join(shipped)}, "
            f"got {name or 'an unknown class'}"
        )
    target = shipped_checkpoint(str(shipped[name]))
    with atomic_path(target) as path:
        torch.save({key: checkpoint[key] for key in KEPT}, path)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
