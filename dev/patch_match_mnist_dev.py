"""Show the training data or the filters of the shift matcher, or run one of its stages.

python3 ./dev/patch_match_mnist_dev.py --visualize_shifts True
python3 ./dev/patch_match_mnist_dev.py --visualize_filters True
python3 ./dev/patch_match_mnist_dev.py --stage fit --max_epochs 2
python3 ./dev/patch_match_mnist_dev.py --stage predict --predict_dir FOLDER_OR_VIDEO --top_k_dets 10
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from patchmatch import load_shift_matcher  # noqa: E402
from patchmatch.cli import main as run  # noqa: E402
from patchmatch.core.errors import InputError  # noqa: E402
from patchmatch.draw import difference_image, montage  # noqa: E402
from patchmatch.io import write_image  # noqa: E402
from patchmatch.shift.data import ShiftedDigits  # noqa: E402
from patchmatch.shift.energy import EnergyNet  # noqa: E402
from patchmatch.shift.ops import LARGER, SHIFTS  # noqa: E402
from patchmatch.synthetic.digits import load_digits, split_indices  # noqa: E402

NUM_PAIRS = 48  # in a montage


def visualize(data_dir: Path, seed: int = 0) -> list[Path]:
    """Write montages of digits, dead-leaves images and shifted pairs; return their paths.

    A tile of the shifted pairs shows patch 0, patch 1 and their difference; its caption is the
    displacement (dx, dy).
    """
    written = []
    digits = load_digits("embedded", data_dir)
    for split in ("train", "val", "test"):
        members = digits[split_indices(len(digits), split)]
        written.append(data_dir / "montages" / f"digits_{split}.png")
        write_image(written[-1], montage(list(members[:200]), columns=20))
    for augment in (False, True):
        data = ShiftedDigits(data_dir=str(data_dir), canvases=50, augment=augment, seed=seed)
        data.setup("fit")
        pairs = data.sets["train"]
        if augment:
            written.append(data_dir / "montages" / "canvases_train.png")
            write_image(written[-1], montage(list(pairs.images[:20]), columns=5))
        tiles, captions = [], []
        for index in range(NUM_PAIRS):
            pair = pairs[index]
            patch0, patch1 = (np.clip(p, 0, 1) for p in pair["frames"][0].numpy())
            levels = [np.round(255 * p).astype(np.uint8) for p in (patch0, patch1)]
            tiles.append(np.hstack([*levels, difference_image(*levels)]))
            shift = int(pair["shift"])
            captions.append("larger" if shift == LARGER else "{} {}".format(*SHIFTS[shift]))
        name = "pairs_augmented.png" if augment else "pairs.png"
        written.append(data_dir / "visualise_shifts" / name)
        write_image(written[-1], montage(tiles, columns=6, captions=captions, scale=2))
    return written


def visualize_filters(data_dir: Path, ckpt_path: str | None = None) -> list[Path]:
    """Write images of the learned kernels; return their paths.

    A row is a band, a column a shift (dx, dy). A tile shows a kernel over time: its part in
    frame 0, its part in frame 1, and the slice through its centre over x (to the right) and t
    (downwards). Gray is zero, white positive, black negative.
    """
    net = load_shift_matcher(ckpt_path, device="cpu").matcher.net
    if not isinstance(net, EnergyNet):
        raise InputError(
            f"{ckpt_path}: its network has no kernels over time; give a checkpoint of "
            "--model.net energy"
        )
    kernels = net.kernels().detach().numpy()  # (9, 2, C, 2, K, K)
    written = []
    for phase, name in enumerate(("even", "odd")):
        tiles, captions = [], []
        for band in range(kernels.shape[2]):
            for shift in range(len(SHIFTS)):
                kernel = kernels[shift, phase, band]  # (2, K, K)
                gap = np.zeros((kernel.shape[1], 1))
                middle = kernel.shape[1] // 2
                over_time = kernel[:, middle].repeat((middle, middle + 1), axis=0)
                tile = np.hstack([kernel[0], gap, kernel[1], gap, over_time])
                gray = 0.5 + 0.5 * tile / np.abs(kernels[:, :, band]).max()
                tiles.append(np.round(255 * gray).astype(np.uint8))
                captions.append("{} {}".format(*SHIFTS[shift]))
        written.append(data_dir / "visualise_filters" / f"kernels_{name}.png")
        image = montage(tiles, columns=len(SHIFTS), captions=captions, scale=4, gap=4)
        write_image(written[-1], image)
    return written


def command_line(args: argparse.Namespace) -> list[str]:
    """Return the arguments of patchmatch that run a stage."""
    stage = args.stage
    config = "config_patch_match_predict" if stage == "predict" else "config_patch_match_train"
    line = [stage, "--config", str(ROOT / "configs" / f"{config}.yaml")]
    output = args.output_path
    options: dict[str, object] = {
        "ckpt_path": args.ckpt_path,
        "data.batch_size": args.batch_size,
        "data.num_workers": args.num_workers,
        "trainer.accelerator": args.accelerator,
        "trainer.devices": args.num_devices,
        "trainer.max_epochs": args.max_epochs if stage == "fit" else None,
    }
    if stage == "predict":
        options |= {
            "data.predict_dir": args.predict_dir,
            "writer.output_path": output,
            "writer.overwrite": args.overwrite,
            "writer.top_k": args.top_k_dets,
            "writer.export_box_overlay": args.export_box_overlay,
        }
    else:
        options |= {"data.data_dir": args.data_dir, "trainer.default_root_dir": output}
        if output is not None:
            loggers = ("TensorBoardLogger", "CSVLogger")
            configs = [
                f"{{class_path: {name}, init_args: {{save_dir: {output!r}, name: lightning_logs}}}}"
                for name in loggers
            ]
            options["trainer.logger"] = f"[{', '.join(configs)}]"
    for key, value in options.items():
        if value is not None:
            line.append(f"--{key}={value}")
    return line


def boolean(text: str) -> bool:
    """Parse True or False."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return text.lower() == "true"


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="Without --stage, only the montages are written.",
    )
    parser.add_argument(
        "--visualize_shifts",
        type=boolean,
        default=False,
        metavar="True|False",
        help="write montages of digits, dead-leaves images and shifted pairs",
    )
    parser.add_argument(
        "--visualize_filters",
        type=boolean,
        default=False,
        metavar="True|False",
        help="write images of the kernels of the shipped weights, or of --ckpt_path",
    )
    parser.add_argument("--stage", choices=["fit", "validate", "test", "predict"])
    parser.add_argument("--ckpt_path", help="checkpoint; default: the shipped weights")
    parser.add_argument("--data_dir", default="data", help="folder of montages and downloads")
    parser.add_argument("--predict_dir", help="folder of ordered frames, or a video")
    parser.add_argument("--output_path", help="default: data/output")
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--num_workers", type=int)
    parser.add_argument("--accelerator", help="auto, cpu, gpu ...")
    parser.add_argument("--num_devices", type=int)
    parser.add_argument("--max_epochs", type=int)
    parser.add_argument("--top_k_dets", type=int, help="largest number of boxes per frame")
    parser.add_argument(
        "--export_box_overlay",
        type=boolean,
        metavar="True|False",
        help="True: boxes on the frame; False: a montage of changed patches and differences",
    )
    parser.add_argument("--overwrite", type=boolean, metavar="True|False")
    args = parser.parse_args(argv)
    try:
        written = []
        if args.visualize_shifts or (args.stage is None and not args.visualize_filters):
            written += visualize(Path(args.data_dir))
        if args.visualize_filters:
            written += visualize_filters(Path(args.data_dir), args.ckpt_path)
        for path in written:
            print(f"written: {path}")
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    if args.stage is not None:
        run(command_line(args))


if __name__ == "__main__":
    main()
