"""Compare moving objects with background subtraction and flow, on real and generated videos.

    python3 dev/benchmark_objects.py
    python3 dev/benchmark_objects.py --vtest vtest.avi vtest_people.csv
    python3 dev/benchmark_objects.py --masks highway/input highway/groundtruth
    python3 dev/benchmark_objects.py --camera bmx-trees bmx-trees_mask
    python3 dev/benchmark_objects.py --speed vtest.avi

Without options: generated videos with exact ground truth. Boxes are matched one to one; masks are
compared pixel by pixel as in CDnet, which excludes unknown pixels, and by the mean of the Jaccard
index over the frames as in DAVIS. Peers: the background subtractors MOG2 and KNN of OpenCV, the
difference of frames, and DIS flow, each opened and dilated, with connected parts over 400 pixels of
a frame of 768x576. Times are CPU times per frame, in the same process. ``--speed`` times the whole
program on 640x480: decoding, objects, tables and the annotated video, without its start.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.io import find_sequences, read_csv, to_rgb_uint8, write_video
from patchmatch.io.ground_truth import TrueMasks, true_box
from patchmatch.objects.block_motion import BlockMotion
from patchmatch.objects.follower import Follower
from patchmatch.objects.tracking_metrics import Tracks, score_tracks
from patchmatch.synthetic.moving_things import UNKNOWN
from patchmatch.synthetic.videos import make_video

MIN_AREA = 400 / (768 * 576)  # of the frame: the smallest part of a peer
DIFFERENCE, FLOW = 20, 0.7  # gray levels, pixels per frame
PERSON = {"things": 1, "size": (0.5, 0.75), "people": True}  # indoors: a large one
RUNNER = {"things": 1, "size": (0.3, 0.45), "people": True, "visible": True}
RUNNER |= {"width": 428, "pole": False, "frames": 70}
GENERATED: dict[str, dict] = {
    "plain": {},
    "light": {"light": 0.15},
    "swaying": {"waves": True},
    "hard shadows": {"shadows": 0.5},
    "noise": {"noise": 6.0, "quality": 75},
    "person enters and stops": {**PERSON, "frames": 200, "rest": 150},
    "person walks off and stops": {**PERSON, "frames": 200, "rest": 150, "visible": True},
    "panning, 3 px": {**RUNNER, "pan": 3},
    "panning, 5 px": {**RUNNER, "pan": -5},
}
SEEDS = range(100, 104)  # not those of the tests

Mask = np.ndarray


def subtractor(make: Callable[[], cv2.BackgroundSubtractor]) -> Callable[..., Iterator[Mask]]:
    """Return a function that yields the masks of a background subtractor."""

    def masks(images: Sequence[np.ndarray], camera: bool) -> Iterator[Mask]:
        model = make()
        for image in images:
            yield (model.apply(image) == 255).astype(np.uint8) * 255

    return masks


def frame_difference(images: Sequence[np.ndarray], camera: bool) -> Iterator[Mask]:
    """Yield where a frame differs from the one before."""
    before = images[0]
    for image in images:
        yield (cv2.absdiff(image, before).max(axis=2) > DIFFERENCE).astype(np.uint8) * 255
        before = image


def dis_flow(images: Sequence[np.ndarray], camera: bool) -> Iterator[Mask]:
    """Yield where the flow to the frame before is long, without an affine motion of the camera."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before = cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY)
    for image in images:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        motion = flow.calc(gray, before, None)
        if camera:
            y, x = np.mgrid[4 : gray.shape[0] : 8, 4 : gray.shape[1] : 8]
            points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float64)
            moved = points + motion[y, x].reshape(-1, 2)
            affine, _ = cv2.estimateAffine2D(points, moved, ransacReprojThreshold=1.0)
            rows, columns = np.mgrid[: gray.shape[0], : gray.shape[1]]
            grid = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
            motion = motion - (grid @ affine.T - grid[..., :2])
        yield (np.hypot(motion[..., 0], motion[..., 1]) > FLOW).astype(np.uint8) * 255
        before = gray


PEERS = {
    "MOG2": subtractor(cv2.createBackgroundSubtractorMOG2),
    "KNN": subtractor(cv2.createBackgroundSubtractorKNN),
    "frame difference": frame_difference,
    "DIS flow": dis_flow,
}


def parts(mask: Mask) -> np.ndarray:
    """Return the boxes of the connected parts of a mask, opened and dilated."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    dilated = cv2.dilate(opened, np.ones((5, 5), np.uint8), iterations=2)
    stats = cv2.connectedComponentsWithStats(dilated)[2][1:]
    stats = stats[stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * mask.size]
    return np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1).astype(float)


def run_peer(name: str, images: Sequence[np.ndarray], camera: bool) -> tuple[Tracks, list[Mask]]:
    """Return the boxes and masks of a peer."""
    masks = list(PEERS[name](images, camera))
    boxes = {t: parts(mask) for t, mask in enumerate(masks)}
    # a peer has no tracks: every box is a new one
    return {t: ([1000 * t + i for i in range(len(b))], b) for t, b in boxes.items()}, masks


def run_ours(images: Sequence[np.ndarray], camera: bool, fps: float) -> tuple[Tracks, list[Mask]]:
    """Return the tracks and masks of moving objects."""
    follower = Follower(BlockMotion(lambda: torch.device("cpu")), camera or None, fps=fps)
    frames = [follower(image) for image in images]
    moved = frozenset[int]().union(*(frame.moved for frame in frames))
    tracks, masks = {}, []
    for t, frame in enumerate(frames):
        things = [thing for thing in frame.things if thing.track in moved]
        boxes = np.array([thing.box for thing in things]).reshape(-1, 4)
        tracks[t] = ([thing.track for thing in things], boxes)
        masks.append(np.isin(frame.labels, list(moved)).astype(np.uint8) * 255)
    return tracks, masks


def methods(
    images: Sequence[np.ndarray], camera: bool, fps: float
) -> Iterator[tuple[str, Tracks, list[Mask], float]]:
    """Yield name, tracks, masks and milliseconds of CPU time per frame of each method."""
    for name in (*PEERS, "ours"):
        start = time.process_time()
        if name == "ours":
            tracks, masks = run_ours(images, camera, fps)
        else:
            tracks, masks = run_peer(name, images, camera)
        yield name, tracks, masks, 1000 * (time.process_time() - start) / len(images)


def mask_counts(predicted: Mask, moving: Mask, known: Mask) -> tuple[int, int, int]:
    """Return the pixels that are both predicted and true, predicted, and true."""
    said, true = (predicted > 0) & known, moving & known
    return int((said & true).sum()), int(said.sum()), int(true.sum())


def pixel_scores(counts: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """Return F1 over all pixels, and the mean Jaccard index of the frames."""
    both, said, true = np.sum(counts, axis=0)
    jaccard = np.mean([b / (s + t - b) if s + t - b else 1.0 for b, s, t in counts])
    return float(2 * both / (said + true)), float(jaccard)


def read_video(path: Path) -> tuple[list[np.ndarray], list[str], str, float]:
    """Return frames, their names, the name of the sequence and the frames per second."""
    sequence = find_sequences(path).sequences[0]
    images = [to_rgb_uint8(sequence.read(i)) for i in range(len(sequence))]
    names = [sequence.frame_name(i) for i in range(len(sequence))]
    time1 = sequence.time(1)
    return images, names, sequence.name, 1 / time1 if time1 else 25.0


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(title=title)
    for column in ("method", *columns):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    Console(width=110).print(table)


def box_row(name: str, pairs: Sequence[tuple[Tracks, Tracks, Sequence[int]]], ms: float) -> list:
    """Return the row of a method: F1 at both thresholds, switches and time."""
    row: list[object] = [name]
    for threshold in (0.3, 0.5):
        scores = [score_tracks(p, t, frames, threshold) for p, t, frames in pairs]
        total = sum(s.true + s.predicted for s in scores)
        row.append(2 * sum(s.matched for s in scores) / total)
        if threshold == 0.3:
            tracks = sum(s.true_tracks for s in scores)
            switches = sum(s.switches for s in scores) / tracks
    return [*row, switches if name == "ours" else "", f"{ms:.1f}"]


def boxes_benchmark(video: Path, truth: Path) -> None:
    """Print the scores of boxes of a video."""
    images, _, _, fps = read_video(video)
    found: dict[int, list[tuple[int, list[float]]]] = {}
    for row in read_csv(truth, ("frame", "id")):  # frames are counted from 1
        found.setdefault(int(row["frame"]) - 1, []).append((int(row["id"]), true_box(row)))
    true = {t: ([k for k, _ in b], np.array([box for _, box in b])) for t, b in found.items()}
    frames = [t for t in sorted(true) if t > 0]
    rows = [
        box_row(name, [(tracks, true, frames)], ms)
        for name, tracks, _, ms in methods(images[: max(true) + 1], False, fps)
    ]
    show(f"boxes, {video.name}", ("F1 at IoU 0.3", "at 0.5", "switches/track", "ms"), rows)


def masks_benchmark(folder: Path, truth: Path, camera: bool) -> None:
    """Print the scores of masks of a folder of frames."""
    images, names, source, fps = read_video(folder)
    masks = TrueMasks(truth)
    true = [masks.read(source, name) for name in names]
    rows = []
    for name, _, predicted, ms in methods(images, camera, fps):
        counts = [mask_counts(p, *t) for p, t in zip(predicted, true, strict=True) if t][1:]
        rows.append([name, *pixel_scores(counts), f"{ms:.1f}"])
    show(f"masks, {folder.name}", ("F1", "J", "ms"), rows)


def generated_benchmark(frames: int, kinds: Sequence[str]) -> None:
    """Print the scores on generated videos of each kind."""
    for kind in kinds:
        options = {"frames": frames, **GENERATED[kind]}
        pairs: dict[str, list] = {}
        pixels: dict[str, list[tuple[int, int, int]]] = {}
        times: dict[str, list[float]] = {}
        for seed in SEEDS:
            video = make_video(seed, **options)
            true = {
                t: (list(b), np.array(list(b.values()), float).reshape(-1, 4))
                for t, b in enumerate(video.boxes)
            }
            shown = range(1, len(video.frames))
            for name, tracks, masks, ms in methods(list(video.frames), "pan" in options, 25.0):
                pairs.setdefault(name, []).append((tracks, true, shown))
                times.setdefault(name, []).append(ms)
                for mask, label in zip(masks[1:], video.labels[1:], strict=True):
                    known = label != UNKNOWN
                    counts = mask_counts(mask, (label > 0) & known, known)
                    pixels.setdefault(name, []).append(counts)
        rows = []
        for name, compared in pairs.items():
            row = box_row(name, compared, float(np.mean(times[name])))
            rows.append([*row[:-1], *pixel_scores(pixels[name]), row[-1]])
        columns = ("F1 at IoU 0.3", "at 0.5", "switches/track", "F1 of pixels", "J", "ms")
        show(f"generated videos: {kind}", columns, rows)


def speed_benchmark(video: Path, counts: tuple[int, int] = (40, 200)) -> None:
    """Print the time per frame of the whole program.

    The wall time is that of the run in its summary, which is without the start of the program; the
    CPU time is the difference of runs on few and on many frames.
    """
    images, _, _, fps = read_video(video)
    cpus, seconds = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "video.mp4"
        write_video(source, (cv2.resize(i, (640, 480)) for i in images[: counts[1]]), fps)
        for count in counts:
            command = [sys.executable, "-m", "patchmatch", "predict", "-c", "moving_objects"]
            command += ["--data.predict_dir", str(source), "--data.max_frames", str(count)]
            command += ["--writer.output_path", f"{folder}/{count}", "--writer.video", "true"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            summary = json.loads(Path(f"{folder}/{count}/summary.json").read_text())
            seconds = summary["seconds"]  # of the longer run, in the end
    cpu = (cpus[1] - cpus[0]) / (counts[1] - counts[0])
    print(
        f"640x480, all in: {(counts[1] - 1) / seconds:.1f} frames per second, "
        f"{1000 * cpu:.0f} ms of CPU time each"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vtest", nargs=2, type=Path, metavar=("VIDEO", "CSV"))
    parser.add_argument("--masks", nargs=2, type=Path, metavar=("FRAMES", "MASKS"))
    parser.add_argument("--camera", nargs=2, type=Path, metavar=("FRAMES", "MASKS"))
    parser.add_argument("--speed", type=Path, metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=90, help="of a generated video")
    parser.add_argument("--kinds", nargs="+", default=GENERATED, choices=GENERATED, metavar="KIND")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.vtest:
        boxes_benchmark(*options.vtest)
    if options.masks:
        masks_benchmark(*options.masks, camera=False)
    if options.camera:
        masks_benchmark(*options.camera, camera=True)
    if options.speed:
        speed_benchmark(options.speed)
    if not (options.speed or options.vtest or options.masks or options.camera):
        generated_benchmark(options.frames, options.kinds)


if __name__ == "__main__":
    main()
