"""Measure the boxes that the shift matcher draws, on still scenes and on videos of moving things.

python3 dev/benchmark_changes.py
python3 dev/benchmark_changes.py --cdnet FOLDER --video FILE --boxes FILE.csv

Prints the table of docs/shift.md. Still scenes are photographs with noise of several kinds, 30
pairs each; every box is wrong. Of a sequence of CDnet (with input and groundtruth), the boxes
within 13 pixels of something that moves; of a video with true boxes (frame, id, x, y, width,
height; the first frame is 1), the objects of which a fifth or more is covered.
"""

import argparse
import csv
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame_clips import clip_of

from patchmatch import load_shift_matcher
from patchmatch.frames.results import FrameChanges
from patchmatch.frames.selection import Selection
from patchmatch.shift.matcher import ShiftMatcher

PAIRS = 30
NEAR = 13  # pixels
COVERED = 0.2
NOISES = ("white 3", "white 8", "smooth 3", "signal-dependent 6", "JPEG 80", "JPEG 30")
#: As in ``configs/config_patch_match_predict.yaml``.
SELECT = Selection(top_k=20, min_score=0.25, min_confidence=0.8, min_area=0, max_overlap=0.1)


def still_frames(scene: np.ndarray, noise: str) -> list[np.ndarray]:
    """Return frames of a still scene, (H, W) gray, with noise of a kind in gray levels."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(PAIRS + 1):
        deviation = rng.normal(0, 8 if noise == "white 8" else 3, scene.shape)
        if noise == "smooth 3":
            deviation = 5 * cv2.GaussianBlur(deviation, (0, 0), 1.5)
        if noise.startswith("signal"):
            deviation = rng.normal(0, 6, scene.shape) * np.sqrt(scene / 255)
        frame = np.clip(np.round(0.8 * scene + 20 + deviation), 0, 255).astype(np.uint8)
        if noise.startswith("JPEG"):
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(noise.split()[1])]
            frame = cv2.imdecode(cv2.imencode(".jpg", frame, quality)[1], 0)
        frames.append(frame)
    return frames


def changes_of(matcher: ShiftMatcher, frames: Sequence[np.ndarray]) -> Iterator[FrameChanges]:
    """Yield the drawn boxes of every pair of consecutive gray frames."""
    for pair in itertools.pairwise(frames):
        with torch.inference_mode():
            (changes,) = matcher.predict_step(clip_of(pair, matcher.device), 0)
        yield SELECT(changes)[0]


def measure_cdnet(matcher: ShiftMatcher, folder: Path, first: int, last: int) -> tuple[int, int]:
    """Return the number of boxes near something that moves, and of all boxes."""
    paths = sorted((folder / "input").glob("*.jpg"))[first : last + 1]
    frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    near = total = 0
    for path, found in zip(paths[1:], changes_of(matcher, frames), strict=True):
        truth = folder / "groundtruth" / f"{path.stem.replace('in', 'gt', 1)}.png"
        label = cv2.imread(str(truth), cv2.IMREAD_GRAYSCALE)
        moving = np.isin(label, (50, 170, 255))  # shadow, unknown, moving
        distance = cv2.distanceTransform((~moving).astype(np.uint8), cv2.DIST_L2, 5)
        for x0, y0, x1, y1 in found.boxes.tolist():
            total += 1
            near += int(distance[y0:y1, x0:x1].min() <= NEAR)
    return near, total


def measure_video(matcher: ShiftMatcher, video: Path, boxes: Path) -> tuple[int, int]:
    """Return the number of covered true boxes, and of all true boxes."""
    truth = defaultdict(list)
    with boxes.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            x, y, width, height = (float(row[n]) for n in ("x", "y", "width", "height"))
            truth[int(row["frame"]) - 1].append([round(v) for v in (x, y, x + width, y + height)])
    capture, frames = cv2.VideoCapture(str(video)), []
    while len(frames) <= max(truth):
        frames.append(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY))
    covered = total = 0
    for index, found in enumerate(changes_of(matcher, frames), start=1):
        mask = np.zeros(frames[0].shape, bool)
        for x0, y0, x1, y1 in found.boxes.tolist():
            mask[y0:y1, x0:x1] = True
        for x0, y0, x1, y1 in truth[index]:
            total += 1
            covered += int(mask[max(0, y0) : y1, max(0, x0) : x1].mean() >= COVERED)
    return covered, total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ckpt_path", help="checkpoint; default: the shipped weights")
    parser.add_argument("--cdnet", type=Path, help="folder of a sequence of CDnet 2014")
    parser.add_argument("--range", type=int, nargs=2, default=(60, 120), help="frames of it")
    parser.add_argument("--video", type=Path, help="a video")
    parser.add_argument("--boxes", type=Path, help="csv of its true boxes")
    args = parser.parse_args()
    if (args.video is None) != (args.boxes is None):
        parser.error("give --video and --boxes together")
    import skimage.data

    matcher = load_shift_matcher(args.ckpt_path).matcher
    table = Table("scene", "measure", "result", title="boxes of the shift matcher")
    photograph = cv2.cvtColor(skimage.data.coffee(), cv2.COLOR_RGB2GRAY)
    wall = cv2.GaussianBlur(cv2.cvtColor(skimage.data.chelsea(), cv2.COLOR_RGB2GRAY), (0, 0), 6)
    for name, scene in (("still photograph", photograph), ("still wall", wall)):
        for noise in NOISES:
            count = sum(len(found) for found in changes_of(matcher, still_frames(scene, noise)))
            table.add_row(f"{name}, {noise}", f"boxes in {PAIRS} pairs", str(count))
    if args.cdnet:
        near, total = measure_cdnet(matcher, args.cdnet, *args.range)
        share = f"{near} of {total} ({100 * near / max(1, total):.1f}%)"
        table.add_row(args.cdnet.name, f"boxes within {NEAR} px of something that moves", share)
    if args.video:
        covered, total = measure_video(matcher, args.video, args.boxes)
        share = f"{covered} of {total} ({100 * covered / max(1, total):.1f}%)"
        table.add_row(args.video.name, f"objects covered by {COVERED:.0%} or more", share)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
