"""Measure the speed of frame matching (speed table of docs/benchmarks.md).

python3 dev/benchmark_predict.py [--frames FOLDER] [--threads 2]

Matches frames of 768x576 at all blocks of 26 pixels with stride 13, and compares the time with
OpenCV's DIS optical flow (medium preset) and with frame differences. Decoding is excluded, the
methods alternate, and medians over pairs are printed. Then measures frames per second and peak
memory of the whole program for 10 and for 1,000 PNG files, each in its own process.
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

from patchmatch import load_shift_matcher, predict_frames
from patchmatch.core.clips import Clip
from patchmatch.frames.cows.sequence import render_sequence
from patchmatch.io import find_sequences, to_gray_float, write_image

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


def compare_speed(frames: list[np.ndarray], threads: int, rounds: int) -> dict[str, float]:
    """Return the median milliseconds per frame pair of each method."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    matcher = load_shift_matcher().matcher
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def match(clip: Clip) -> None:
        matcher.predict_step(clip, 0)

    times: dict[str, list[float]] = {"patchmatch": [], "DIS medium": [], "frame difference": []}
    for _ in range(rounds):
        # Pairs of a clip share frames, so the whole clip is timed.
        gray = torch.from_numpy(np.stack(frames).astype(np.float32) / 255)[:, None]
        clip: Clip = {
            "index": 0,
            "source": "",
            "several": False,
            "frames": gray.to(matcher.device),
            "images": [],
            "names": [str(i) for i in range(len(frames))],
            "times": [None] * len(frames),
            "pairs": [(i, i + 1) for i in range(len(frames) - 1)],
            "notes": [],
        }
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


def measure_program(frames: list[np.ndarray], count: int, threads: int) -> tuple[float, float]:
    """Return frames per second and peak memory in MB of a process that predicts ``count`` files."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            step = i % (2 * len(frames) - 2)  # forwards, then backwards
            index = min(step, 2 * len(frames) - 2 - step)
            write_image(Path(folder) / f"frame_{i}.png", frames[index])
        command = [sys.executable, __file__, "--child", folder, "--threads", str(threads)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, memory = result.stdout.split()
    return float(rate), float(memory)


def child(folder: str, threads: int) -> None:
    """Predict a folder and print frames per second and peak memory."""
    import resource

    torch.set_num_threads(threads)
    matcher = load_shift_matcher().matcher
    start = time.perf_counter()
    pairs = sum(1 for _ in predict_frames(folder, matcher=matcher))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(pairs / seconds, peak)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", help="folder of frames; default: rendered cows")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads")
    parser.add_argument("--rounds", type=int, default=7, help="number of repetitions")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.threads)
        return
    frames = read_frames(args.frames)
    height, width = frames[0].shape
    speed = compare_speed(frames, args.threads, args.rounds)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
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
        "frames", "frames per second", "peak memory, MB", title="whole program, from PNG files"
    )
    for count in (10, 1000):
        rate, peak = measure_program(frames, count, args.threads)
        memory.add_row(str(count), f"{rate:.0f}", f"{peak:.0f}")
    console.print(memory)


if __name__ == "__main__":
    main()
