"""Export a network to ONNX, and check it with onnxruntime on frames of several sizes.

python3 dev/export_onnx.py [--matcher shift|motion] [--ckpt_path FILE] [--output FILE.onnx]

The file takes `frames`, (1, 1, 2, height, width) float in [0, 1], the earlier one first.
Of shifts, for any size from 64 to 4096, it gives `probability`, (1, 10, rows, columns): the nine
shifts row by row from (-1, -1), then larger.
Of motion, for multiples of 32 from 128 to 4096, it gives `displacement`, (1, rows, columns, 2), dx
and dy in pixels, and `confidence` and `matched`, (1, rows, columns). This export takes a minute.
Needs `pip install onnx onnxscript onnxruntime`.
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
    """A network with its blocks fixed: two frames in, what it tells of them out."""

    outputs: tuple[str, ...]  #: names of what is told
    sizes: tuple[tuple[int, int], ...]  #: height and width of the frames that it is checked on
    tolerance: float  #: how far what is told may lie from what torch tells
    share = 1.0  #: of the numbers, that must be as near

    @abc.abstractmethod
    def axes(self) -> tuple[Any, Any]:
        """Return the heights and the widths that the file takes."""


class Shifts(Exported):
    """Probabilities of shifts.

    Args:
        net: The network.
        block: Side of a block in pixels.
        stride: Pixels from block to block.
    """

    outputs = ("probability",)
    sizes = ((120, 160), (97, 203), (480, 640))
    tolerance = 1e-5

    def __init__(self, net: ShiftNet, block: int = 26, stride: int = 13) -> None:
        super().__init__()
        self.net, self.block, self.stride = net, block, stride

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """Return (1, 10, rows, columns) of frames (1, 1, 2, H, W)."""
        return (self.net(frames, self.block, self.stride).softmax(dim=1)[:, :, 0],)

    def axes(self) -> tuple[Any, Any]:
        """Return the heights and the widths that the file takes."""
        height, width = (torch.export.Dim(n, min=64, max=4096) for n in ("height", "width"))
        return height, width


class Motions(Exported):
    """Displacements and what speaks for them.

    Args:
        net: The network.
        block: Side of a block in pixels.
    """

    outputs = ("displacement", "confidence", "matched")
    sizes = ((224, 288), (128, 192), (480, 640))
    tolerance, share = 1e-3, 0.99  # of two equally good places rounding may choose

    def __init__(self, net: MotionNet, block: int = 32) -> None:
        super().__init__()
        self.net, self.block = net, block

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (1, rows, columns, 2) and twice (1, rows, columns) of frames (1, 1, 2, H, W)."""
        motion = self.net(frames, self.block)
        confidence, matched = motion.confidence_logits.sigmoid().unbind(dim=-1)
        return motion.displacement, confidence, matched

    def axes(self) -> tuple[Any, Any]:
        """Return the heights and the widths that the file takes."""
        rows, columns = (torch.export.Dim(n, min=4, max=128) for n in ("rows", "columns"))
        return 32 * rows, 32 * columns


def export(module: Exported, output: Path) -> None:
    """Write the file, atomically."""
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
            optimize=False,  # onnxruntime does, when it opens the file
            verbose=False,
        )
    assert program is not None
    with atomic_path(output) as path:
        program.save(str(path))


@torch.inference_mode()
def differences(module: Exported, path: Path) -> Tensor:
    """Return how far what onnxruntime tells lies from what torch does, number by number.

    The frames are smooth and noisy, and the later one is moved by 3 and 2 pixels.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of every cast that cannot be folded it would warn
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    apart = []
    for seed, (height, width) in enumerate(module.sizes):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, 1, height // 8, width // 8, generator=generator)
        frame = nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        frames = torch.stack([frame, frame.roll((2, 3), dims=(2, 3))], dim=2)
        frames = (frames + 0.01 * torch.randn(frames.shape, generator=generator)).clamp(0, 1)
        told = session.run(module.outputs, {"frames": frames.numpy()})
        for found, wanted in zip(told, module(frames), strict=True):
            apart.append((torch.from_numpy(found) - wanted).abs().flatten())
    return torch.cat(apart)


def main() -> None:
    """Export and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matcher", choices=["shift", "motion"], default="shift")
    parser.add_argument("--ckpt_path", help="default: the weights that the package ships")
    parser.add_argument("--output", type=Path, help="default: MATCHER_matcher.onnx")
    parser.add_argument("--block", type=int, help="side of a block in pixels: 26 or 32")
    parser.add_argument("--stride", type=int, help="of shifts: from block to block, 13")
    options = parser.parse_args()
    if options.matcher == "motion" and options.stride is not None:
        parser.error("--stride is of shifts; blocks of motion lie side by side")
    output = options.output or Path(f"{options.matcher}_matcher.onnx")
    if options.matcher == "shift":
        shift = load_shift_matcher(options.ckpt_path, device="cpu").matcher
        module: Exported = Shifts(shift.net, options.block or 26, options.stride or 13)
    else:
        motion = load_motion_matcher(options.ckpt_path, device="cpu").matcher
        module = Motions(motion.net, options.block or 32)
    export(module, output)
    apart = differences(module, output)
    most = float(apart.quantile(module.share))
    print(
        f"{output}: onnxruntime differs from torch by no more than {most:.1e} in "
        f"{module.share:.0%} of what it tells, by {apart.max():.1e} at most; "
        f"frames of {module.sizes}"
    )
    if most > module.tolerance:
        raise SystemExit(f"this is more than {module.tolerance}: do not use the file")


if __name__ == "__main__":
    main()
