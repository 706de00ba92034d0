"""Follow objects through a video of an hour by the command line, and print its memory over time.

    python3 dev/soak_objects.py --output FOLDER [--frames 90000] [--pictures]

The video is generated: a noisy scene of 160x120 pixels at 25 frames per second, through which two
squares pass, with pauses and slow light. The memory is the resident set of the process (Linux).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

HEIGHT, WIDTH, FPS = 120, 160, 25
PERIOD = 500  # frames between two passes
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the run at which the memory is printed


def write_video(path: Path, frames: int) -> None:
    """Write a scene of noise, slow light and two passing squares, one of which pauses."""
    random = np.random.default_rng(0)
    scene = cv2.GaussianBlur(
        random.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 3
    )
    scene = 100 + 4 * (scene - scene.mean())
    noise = random.normal(0, 3, (16, HEIGHT, WIDTH, 3)).astype(np.float32)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for index in range(frames):
        time_ = index % PERIOD
        image = scene * (1 + 0.2 * np.sin(2 * np.pi * index / 15_000)) + noise[random.integers(16)]
        x = 2 * (min(time_, 30) + max(0, time_ - 80)) - 20  # it pauses for two seconds
        for left, top, color in ((x, 40, (200, 40, 40)), (180 - time_, 80, (30, 60, 220))):
            image[top : top + 18, max(0, left) : max(0, left + 14)] = color
        video.write(image.clip(0, 255).astype(np.uint8))
    video.release()


def resident_megabytes(pid: int) -> float:
    """Return the resident set of a process; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(s.split()[1]) / 1024 for s in lines if s.startswith("VmRSS")), 0.0)


def main() -> None:
    """Write the video, run patchmatch predict and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=90_000)
    parser.add_argument("--pictures", action="store_true", help="write the pictures as well")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    video = options.output / "hour.mp4"
    write_video(video, options.frames)
    command = [sys.executable, "-m", "patchmatch", "predict", "-c", "moving_objects"]
    command += ["--data.predict_dir", str(video), "--model.camera", "false"]
    command += ["--writer.output_path", str(options.output / "run"), "--writer.overwrite", "true"]
    command += ["--writer.pictures", str(options.pictures).lower()]
    command += ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    start = time.monotonic()
    memory: list[tuple[float, float]] = []
    with (options.output / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            memory.append((time.monotonic() - start, resident_megabytes(process.pid)))
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{options.output / 'log.txt'}: exit code {process.returncode}")
    memory = [sample for sample in memory if sample[1]]
    table = Table("share of the run", "seconds", "resident MB")
    for share in SHARES:
        seconds, size = memory[round(share * (len(memory) - 1))]
        table.add_row(f"{share:.0%}", f"{seconds:.0f}", f"{size:.0f}")
    table.add_row("largest", "", f"{max(size for _, size in memory):.0f}")
    Console().print(table, f"{options.frames / memory[-1][0]:.0f} frames per second")


if __name__ == "__main__":
    main()
