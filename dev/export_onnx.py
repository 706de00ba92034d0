"""Export the shift network to ONNX, and check it with onnxruntime on frames of several sizes.

python3 dev/export_onnx.py [--ckpt_path FILE] [--output FILE.onnx] [--block 26] [--stride 13]

The file takes `frames`, (1, 1, 2, height, width) float in [0, 1], of any size from 64 to 4096, and
gives `probability`, (1, 10, rows, columns): the nine shifts row by row from (-1, -1), then larger.
Needs `pip install onnx onnxscript onnxruntime`.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch import load_shift_matcher
from patchmatch.io import atomic_path
from patchmatch.nets import ShiftNet

SIZES = ((120, 160), (97, 203), (480, 640))  # height, width
TOLERANCE = 1e-5


class Probabilities(nn.Module):
    """The network with its blocks fixed, two frames in, probabilities out."""

    def __init__(self, net: ShiftNet, block: int, stride: int) -> None:
        super().__init__()
        self.net, self.block, self.stride = net, block, stride

    def forward(self, frames: Tensor) -> Tensor:
        """Return (1, 10, rows, columns) of frames (1, 1, 2, H, W)."""
        return self.net(frames, self.block, self.stride).softmax(dim=1)[:, :, 0]


def export(net: ShiftNet, output: Path, block: int, stride: int) -> None:
    """Write the file, atomically."""
    module = Probabilities(net, block, stride).eval()
    height, width = (torch.export.Dim(n, min=64, max=4096) for n in ("height", "width"))
    program = torch.onnx.export(
        module,
        (torch.rand(1, 1, 2, *SIZES[0]),),
        dynamo=True,
        dynamic_shapes=({3: height, 4: width},),
        input_names=["frames"],
        output_names=["probability"],
        opset_version=18,
        verbose=False,
    )
    assert program is not None
    with atomic_path(output) as path:
        program.save(str(path))


@torch.inference_mode()
def largest_difference(net: ShiftNet, path: Path, block: int, stride: int) -> float:
    """Return how far onnxruntime's probabilities lie from torch's at most, over all sizes."""
    import onnxruntime

    module = Probabilities(net, block, stride).eval()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed, (height, width) in enumerate(SIZES):
        generator = torch.Generator().manual_seed(seed)
        frames = torch.rand(1, 1, 2, height, width, generator=generator)
        (found,) = session.run(["probability"], {"frames": frames.numpy()})
        worst = max(worst, float((torch.from_numpy(found) - module(frames)).abs().max()))
    return worst


def main() -> None:
    """Export and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ckpt_path", help="default: the weights that the package ships")
    parser.add_argument("--output", type=Path, default=Path("shift_matcher.onnx"))
    parser.add_argument("--block", type=int, default=26, help="side of a block in pixels")
    parser.add_argument("--stride", type=int, default=13, help="from block to block in pixels")
    options = parser.parse_args()
    net = load_shift_matcher(options.ckpt_path, device="cpu").net
    export(net, options.output, options.block, options.stride)
    worst = largest_difference(net, options.output, options.block, options.stride)
    print(f"{options.output}: onnxruntime differs from torch by {worst:.1e} at most, {SIZES}")
    if worst > TOLERANCE:
        raise SystemExit(f"this is more than {TOLERANCE}: do not use the file")


if __name__ == "__main__":
    main()
