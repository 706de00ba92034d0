"""Measure the speed of frame matching (speed table of docs/benchmarks.md).

python3 dev/benchmark_predict.py [--frames FOLDER] [--threads 2] [--device cuda] [--ckpt_path FILE]

Matches frames of 768x576 at all blocks of 26 pixels with stride 13, and compares the time with
OpenCV's DIS optical flow (medium preset) and with frame differences. Decoding is excluded, the
methods alternate, and medians over pairs are printed. Then measures frames per second, the share
of decoding and peak memory of the whole program for 10 and for 1,000 PNG files, each in its own
process.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame_clips import clip_of

from patchmatch import load_shift_matcher, predict_frames
from patchmatch.core.clips import Clip
from patchmatch.frames.cows.sequence import render_sequence
from patchmatch.io import find_sequences, to_gray_float, write_image
from patchmatch.shift.matcher import ShiftMatcher

HEIGHT, WIDTH = 576, 768


def read_frames(folder: str | None) -> list[np.ndarray]:
    """Return gray uint8 frames of a folder, or rendered ones."""
    if folder is None:
        sequence = render_sequence(frames=12, height=HEIGHT, width=WIDTH)
        images = list(sequence.frames)
    else:
        frames = find_sequences(folder).sequences[0]
        images = [frames.read(i) for i in range(len(frames))]
    return [np.round(255 * to_gray_float(image)).astype(np.uint8) for image in images]


def compare_speed(
    frames: list[np.ndarray], matcher: ShiftMatcher, threads: int, rounds: int
) -> dict[str, float]:
    """Return the median milliseconds per frame pair of each method."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def match(clip: Clip) -> None:
        matcher.predict_step(clip, 0)

    times: dict[str, list[float]] = {"patchmatch": [], "DIS medium": [], "frame difference": []}
    for _ in range(rounds):
        # Pairs of a clip share frames, so the whole clip is timed.
        clip = clip_of(frames, matcher.device)
        with torch.inference_mode():
            times["patchmatch"].append(_seconds(lambda c=clip: match(c)) / (len(frames) - 1))
        for frame0, frame1 in itertools.pairwise(frames):
            times["DIS medium"].append(_seconds(lambda a=frame0, b=frame1: dis.calc(a, b, None)))
            times["frame difference"].append(
                _seconds(lambda a=frame0, b=frame1: cv2.absdiff(a, b).max())
            )
    return {name: 1000 * statistics.median(values[1:]) for name, values in times.items()}


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_program(
    frames: list[np.ndarray], count: int, args: argparse.Namespace
) -> tuple[float, float, float]:
    """Run a process that predicts ``count`` files.

    Returns:
        Frames per second, the share of the time that decoding takes, and peak memory in MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            step = i % (2 * len(frames) - 2)  # forwards, then backwards
            index = min(step, 2 * len(frames) - 2 - step)
            write_image(Path(folder) / f"frame_{i}.png", frames[index])
        command = [sys.executable, __file__, "--child", folder, "--threads", str(args.threads)]
        for name in ("device", "ckpt_path"):
            if getattr(args, name) is not None:
                command += [f"--{name}", getattr(args, name)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, decoding, memory = map(float, result.stdout.split())
    return rate, decoding, memory


def child(folder: str, matcher: ShiftMatcher, threads: int) -> None:
    """Predict a folder; print frames per second, the share of decoding and peak memory."""
    import resource

    torch.set_num_threads(threads)
    start = time.perf_counter()
    pairs = sum(1 for _ in predict_frames(folder, matcher=matcher))
    seconds = time.perf_counter() - start
    sequence = find_sequences(folder).sequences[0]
    start = time.perf_counter()
    for index in range(len(sequence)):
        to_gray_float(sequence.read(index))
    decoding = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(pairs / seconds, decoding / seconds, peak)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", help="folder of frames; default: rendered cows")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads")
    parser.add_argument("--rounds", type=int, default=7, help="number of repetitions")
    parser.add_argument("--device", help="cpu or cuda; default: cuda where there is one")
    parser.add_argument("--ckpt_path", help="checkpoint; default: the shipped weights")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    matcher = load_shift_matcher(args.ckpt_path, device=args.device).matcher
    if args.child:
        child(args.child, matcher, args.threads)
        return
    frames = read_frames(args.frames)
    height, width = frames[0].shape
    speed = compare_speed(frames, matcher, args.threads, args.rounds)
    device = torch.cuda.get_device_name() if matcher.device.type == "cuda" else "CPU"
    table = Table(
        "method",
        "ms per pair",
        "frames per second",
        "time relative to DIS",
        title=f"{width}x{height}, {args.threads} threads, patchmatch on {device}",
    )
    for name, ms in speed.items():
        table.add_row(name, f"{ms:.1f}", f"{1000 / ms:.0f}", f"{ms / speed['DIS medium']:.2f}")
    console = Console(width=100)
    console.print(table)
    memory = Table(
        "frames",
        "frames per second",
        "share of decoding",
        "peak memory, MB",
        title="whole program, from PNG files",
    )
    for count in (10, 1000):
        rate, decoding, peak = measure_program(frames, count, args)
        memory.add_row(str(count), f"{rate:.0f}", f"{100 * decoding:.0f}%", f"{peak:.0f}")
    console.print(memory)


if __name__ == "__main__":
    main()
