"""Compare the disparity of real or generated pairs with OpenCV's SGBM, in the same run.

    python3 dev/benchmark_stereo.py FOLDER     # FOLDER/*/left.png, right.png, disparity.npz
    python3 dev/benchmark_stereo.py --generated 12

Peak memory is that of the whole process so far; measure one method at a time with --only METHOD.

Errors are means over the pixels with known truth: EPE in pixels, bad-2 the share off by more than
two pixels, D1 off by more than 3 pixels and 5%. SGBM has blocks of 5, P1 600, P2 2400, three
paths; its holes are filled from the left. All methods get the same range, the largest true
disparity plus two, rounded up to a multiple of 16 as SGBM requires. "flow" is the horizontal part
of patchmatch.measure_flow, which searches displacements in both directions and has its own range.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

import patchmatch
from patchmatch.core.checkpoints import load_trained, shipped_checkpoint
from patchmatch.io import read_image
from patchmatch.io.disparity import read_disparity
from patchmatch.stereo.data import StereoScenes
from patchmatch.stereo.matcher import StereoMatcher
from patchmatch.stereo.results import disparity_errors

METHODS: dict[str, dict[str, object]] = {
    "census": {},
    "census, pruned": {"prune": True},
    "learned": {"features": "learned"},
    "refined": {"refine": True},
    "refined, not pruned": {"refine": True, "particles": 0},
}
Pair = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def pairs_of_folder(folder: Path) -> Iterator[Pair]:
    """Yield name, left and right image (uint8 RGB) and true disparity of each subfolder."""
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = [next(iter(sorted(sub.glob(f)))) for f in ("*left.png", "*right.png", "*.npz")]
        left, right = (read_image(path)[..., :3] for path in files[:2])
        truth = read_disparity(files[2])
        yield sub.name, left[: len(truth)], right[: len(truth)], truth


def generated_pairs(count: int) -> Iterator[Pair]:
    """Yield generated pairs of photographs that are not used for training."""
    data = StereoScenes(eval_pairs=count, height=256, width=448, max_disparity=112)
    data.setup("test")
    for i in range(count):
        item = data.sets["test"][i]
        images = [
            (item[k].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            for k in ("image0", "image1")
        ]
        yield f"generated {i}", images[0], images[1], item["disparity"].numpy()


def measure_sgbm(left: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """Return the disparity of SGBM, holes filled from the left."""
    matcher = cv2.StereoSGBM.create(
        minDisparity=0, numDisparities=count, blockSize=5, P1=600, P2=2400,
        disp12MaxDiff=1, uniquenessRatio=10, speckleWindowSize=100, speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    found = matcher.compute(left[..., ::-1].copy(), right[..., ::-1].copy()) / np.float32(16)
    known = found >= 0
    column = np.where(known, np.arange(found.shape[1]), -1)
    last = np.maximum.accumulate(column, axis=1)
    first = known.argmax(axis=1)[:, None]
    return np.take_along_axis(found, np.where(last >= 0, last, first), axis=1).clip(0)


def main() -> None:
    """Print a table for each pair, and the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--generated", type=int, default=0, metavar="COUNT")
    parser.add_argument("--checkpoint", help="instead of the shipped weights")
    parser.add_argument("--only", metavar="METHOD", help="measure one method only")
    parser.add_argument("--pictures", type=Path, help="folder for pictures beside the truth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = options.checkpoint or shipped_checkpoint(str(StereoMatcher.shipped_weights))
    matchers = {
        name: load_trained(StereoMatcher, checkpoint, settings)
        for name, settings in METHODS.items()
        if options.only in (None, name)
    }
    if options.folder is None and not options.generated:
        parser.error("give a folder or --generated COUNT")
    if options.folder is None:
        pairs = generated_pairs(options.generated)
    else:
        pairs = pairs_of_folder(options.folder)
    rows: dict[str, list[list[float]]] = {}
    print(f"{'pair':14} {'method':28} {'EPE':>6} {'bad-2':>6} {'D1':>6} {'seconds':>7}")
    for name, left, right, truth in pairs:
        count = int(-(-(np.nanmax(truth) + 2) // 16) * 16)
        found = {}
        image0, image1 = (
            torch.from_numpy(i.transpose(2, 0, 1).copy())[None] / 255 for i in (left, right)
        )
        start = time.perf_counter()
        if options.only in (None, "SGBM"):
            found["SGBM"] = measure_sgbm(left, right, count), time.perf_counter() - start
        if options.only in (None, "flow"):
            start = time.perf_counter()
            flow = patchmatch.measure_flow(left, right).flow
            found["flow"] = -flow[0].numpy().clip(max=0), time.perf_counter() - start
        for method, matcher in matchers.items():
            start = time.perf_counter()
            disparity = matcher.measure(image0, image1, count - 1).disparity
            found[method] = disparity, time.perf_counter() - start
        for method, (disparity, seconds) in found.items():
            errors = disparity_errors(disparity, truth)
            values = [errors["epe"], 100 * errors["bad_2"], 100 * errors["d1"], seconds]
            rows.setdefault(method, []).append(values)
            _print(name, method, values)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            shown = [truth, *(d for d, _ in found.values())]
            picture = np.hstack([_colors(d, count) for d in shown])
            cv2.imwrite(str(options.pictures / f"{name}.png"), picture)
    for method, values in rows.items():
        _print("mean", method, np.mean(values, axis=0).tolist())
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _print(name: str, method: str, values: list[float]) -> None:
    epe, bad, d1, seconds = values
    print(f"{name:14} {method:28} {epe:6.2f} {bad:5.1f}% {d1:5.1f}% {seconds:7.2f}", flush=True)


def _colors(disparity: np.ndarray, count: int) -> np.ndarray:
    level = (np.nan_to_num(disparity) / count * 255).clip(0, 255).astype(np.uint8)
    colors = cv2.applyColorMap(level, cv2.COLORMAP_TURBO)
    colors[~np.isfinite(disparity)] = 128
    return colors


if __name__ == "__main__":
    main()
