"""Export a network to ONNX and compare it with onnxruntime on frames of several sizes.

python3 dev/export_onnx.py [--matcher shift|motion] [--ckpt_path FILE] [--output FILE.onnx]

The input is `frames`, (1, 1, 2, height, width) float in [0, 1], the earlier frame first.
The shift network takes sizes from 64 to 4096. Its output is `probability`, (1, 10, rows, columns):
the nine shifts row by row from (-1, -1), then larger.
The motion network takes multiples of 32 from 128 to 4096. Its outputs are `displacement`,
(1, rows, columns, 2), dx and dy in pixels, and `confidence` and `matched`, (1, rows, columns). Its
export takes a minute.
Requires `pip install onnx onnxscript onnxruntime`.
"""

import abc
import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch import load_motion_matcher, load_shift_matcher
from patchmatch.io import atomic_path
from patchmatch.motion.net import MotionNet
from patchmatch.shift.net import ShiftNet


class Exported(nn.Module, abc.ABC):
    """Base of exported networks, with a fixed block size: two frames in, tensors out."""

    outputs: tuple[str, ...]  #: names of the outputs
    sizes: tuple[tuple[int, int], ...]  #: (height, width) of the frames of the check
    tolerance: float  #: largest absolute difference between onnxruntime and torch
    share = 1.0  #: share of the output values that must be within the tolerance

    @abc.abstractmethod
    def axes(self) -> tuple[Any, Any]:
        """Return the dynamic height and width of the frames."""


class Shifts(Exported):
    """Probabilities of shifts, from the shift network.

    Args:
        net: The network.
        block: Side of a block in pixels.
        stride: Pixels from block to block.
    """

    outputs = ("probability",)
    sizes = ((120, 160), (97, 203), (480, 640))
    tolerance = 1e-4

    def __init__(self, net: ShiftNet, block: int = 26, stride: int = 13) -> None:
        super().__init__()
        self.net, self.block, self.stride = net, block, stride

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """Return probabilities (1, 10, rows, columns) of frames (1, 1, 2, H, W)."""
        return (self.net(frames, self.block, self.stride).softmax(dim=1)[:, :, 0],)

    def axes(self) -> tuple[Any, Any]:
        """Return the dynamic height and width of the frames."""
        height, width = (torch.export.Dim(n, min=64, max=4096) for n in ("height", "width"))
        return height, width


class Motions(Exported):
    """Displacements and their confidence, from the motion network.

    Args:
        net: The network.
        block: Side of a block in pixels.
    """

    outputs = ("displacement", "confidence", "matched")
    sizes = ((224, 288), (128, 192), (480, 640))
    tolerance, share = 1e-3, 0.99  # rounding decides between equal candidates

    def __init__(self, net: MotionNet, block: int = 32) -> None:
        super().__init__()
        self.net, self.block = net, block

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return displacement, confidence and matched of frames (1, 1, 2, H, W)."""
        motion = self.net(frames, self.block)
        confidence, matched = motion.confidence_logits.sigmoid().unbind(dim=-1)
        return motion.displacement, confidence, matched

    def axes(self) -> tuple[Any, Any]:
        """Return the dynamic height and width of the frames."""
        rows, columns = (torch.export.Dim(n, min=4, max=128) for n in ("rows", "columns"))
        return 32 * rows, 32 * columns


def export(module: Exported, output: Path) -> None:
    """Write the ONNX file, atomically."""
    module.eval()
    height, width = module.axes()
    with torch.no_grad():
        program = torch.onnx.export(
            module,
            (torch.rand(1, 1, 2, *module.sizes[0]),),
            dynamo=True,
            dynamic_shapes=({3: height, 4: width},),
            input_names=["frames"],
            output_names=module.outputs,
            opset_version=18,
            optimize=False,  # onnxruntime optimises when it loads the file
            verbose=False,
        )
    assert program is not None
    with atomic_path(output) as path:
        program.save(str(path))


@torch.inference_mode()
def differences(module: Exported, path: Path) -> Tensor:
    """Return the absolute differences of all outputs of onnxruntime and torch, flat.

    The frames are smooth noise with a shift of 3 and 2 pixels.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warning for every cast that cannot be folded
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    errors = []
    for seed, (height, width) in enumerate(module.sizes):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, 1, height // 8, width // 8, generator=generator)
        frame = nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        frames = torch.stack([frame, frame.roll((2, 3), dims=(2, 3))], dim=2)
        frames = (frames + 0.01 * torch.randn(frames.shape, generator=generator)).clamp(0, 1)
        found = session.run(module.outputs, {"frames": frames.numpy()})
        for output, expected in zip(found, module(frames), strict=True):
            errors.append((torch.from_numpy(output) - expected).abs().flatten())
    return torch.cat(errors)


def main() -> None:
    """Export a network and check the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--matcher", choices=["shift", "motion"], default="shift", help="network to export"
    )
    parser.add_argument("--ckpt_path", help="checkpoint; default: the shipped weights")
    parser.add_argument("--output", type=Path, help="ONNX file; default: MATCHER_matcher.onnx")
    parser.add_argument(
        "--block", type=int, help="side of a block in pixels; default: 26 for shift, 32 for motion"
    )
    parser.add_argument(
        "--stride", type=int, help="distance between blocks in pixels, only for shift; default: 13"
    )
    options = parser.parse_args()
    if options.matcher == "motion" and options.stride is not None:
        parser.error("--stride: blocks of the motion network do not overlap; leave it out")
    output = options.output or Path(f"{options.matcher}_matcher.onnx")
    if options.matcher == "shift":
        shift = load_shift_matcher(options.ckpt_path, device="cpu").matcher
        module: Exported = Shifts(shift.net, options.block or 26, options.stride or 13)
    else:
        motion = load_motion_matcher(options.ckpt_path, device="cpu").matcher
        module = Motions(motion.net, options.block or 32)
    export(module, output)
    errors = differences(module, output)
    largest = float(errors.quantile(module.share))
    print(
        f"{output}: {module.share:.0%} of the outputs of onnxruntime differ from torch by at most "
        f"{largest:.1e}, all by at most {errors.max():.1e}; frames of {module.sizes}"
    )
    if largest > module.tolerance:
        raise SystemExit(f"{output}: the tolerance is {module.tolerance}; do not use the file")


if __name__ == "__main__":
    main()
