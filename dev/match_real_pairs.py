"""Accuracy on real pairs with ground truth, time and memory, each matcher in its own process.

``benchmark_match.py --pairs`` uses it. A matcher is a name, or a name and options:
``xfeat:check=lightglue,max_size=null``.
"""

import csv
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from match_peers import opencv_sift
from rich.console import Console
from rich.table import Table

from patchmatch.core.errors import InputError
from patchmatch.io import read_image
from patchmatch.ops.homography import corner_error
from patchmatch.pairs.benchmarks import TruePair, is_benchmark, read_benchmark
from patchmatch.pairs.cameras import Cameras
from patchmatch.pairs.estimation import add_epipolar
from patchmatch.pairs.geometry import area_under_recall, matching_accuracy, pose_error
from patchmatch.pairs.results import Matches
from patchmatch.public.images import to_tensors
from patchmatch.public.pairs import MATCHERS, load_pair_matcher

BASELINE = "OpenCV"
SIZE = 640  # longest side in pixels of image 1 to which corner errors are scaled
CORNERS = (3, 5, 10)  # pixels
EPIPOLAR_THRESHOLD = 1.0  # pixels, as PairMatcher has it
WIDTH = 160  # characters of the table
COLUMNS = (
    *("matcher", "set", "image0", "image1", "matches", "mma_3", "corner_error", "pose_error"),
    *("aligned", "seconds", "gigabytes", "turn"),
)

Match = Callable[[np.ndarray, np.ndarray, Cameras | None], Matches]
Row = dict[str, object]


def parse(text: str) -> tuple[str, dict[str, object]]:
    """Return the name and the options of a matcher.

    Raises:
        InputError: If there is no such matcher.
    """
    name, _, settings = text.partition(":")
    if name not in (BASELINE, *MATCHERS):
        raise InputError(f"{name}: no such matcher; expected one of {', '.join(MATCHERS)}")
    pairs = [setting.partition("=") for setting in settings.split(",") if setting]
    return name, {key: yaml.safe_load(value) for key, _, value in pairs}


def load(text: str) -> Match:
    """Return a function that matches two images, and estimates a pose if it gets cameras."""
    name, options = parse(text)
    if name == BASELINE:

        def match(image0: np.ndarray, image1: np.ndarray, cameras: Cameras | None) -> Matches:
            found = opencv_sift(image0, image1)
            if cameras is None:
                return found
            return add_epipolar(found, "essential", cameras, EPIPOLAR_THRESHOLD, seed=0)

        return match
    matcher = load_pair_matcher(name, options=options)

    def match_by_matcher(
        image0: np.ndarray, image1: np.ndarray, cameras: Cameras | None
    ) -> Matches:
        matcher.epipolar = None if cameras is None else "essential"
        tensors = to_tensors({"image0": image0, "image1": image1})
        return matcher.match(*(t.to(matcher.device) for t in tensors), cameras=cameras)

    return match_by_matcher


def find_sets(folder: Path) -> dict[str, tuple[Path, list[TruePair]]]:
    """Return the root and the pairs of each benchmark: the folder, or the folders in it.

    Pairs whose images are not there are left out.

    Raises:
        InputError: If there is none.
    """
    roots = [folder] if is_benchmark(folder) else sorted(p for p in folder.iterdir() if p.is_dir())
    found = {}
    for root in filter(is_benchmark, roots):
        pairs = [p for p in read_benchmark(root) if _are_files(root, p)]
        if pairs:
            found[root.name] = root, pairs
    if not found:
        raise InputError(f"{folder}: contains no benchmark; see patchmatch.pairs.benchmarks")
    # homographies first
    return dict(sorted(found.items(), key=lambda item: item[1][1][0].homography is None))


def _are_files(root: Path, pair: TruePair) -> bool:
    return (root / pair.image0).is_file() and (root / pair.image1).is_file()


def measure(match: Match, root: Path, pair: TruePair, turn: float = 0.0) -> Row:
    """Return the matches, errors and seconds of processor time of a pair.

    Args:
        match: The matcher.
        root: Folder of the images.
        pair: The pair, with a homography if image 0 is turned.
        turn: Degrees by which image 0 is turned first, anticlockwise.
    """
    image0, image1 = (read_image(root / name) for name in (pair.image0, pair.image1))
    cameras = None if pair.pose is None else (pair.intrinsics0, pair.intrinsics1)
    turned, to_turned = turn_image(image0, turn) if turn else (image0, np.eye(3))
    start = time.process_time()
    found = match(turned, image1, cameras)
    row: Row = {"image0": pair.image0, "image1": pair.image1, "matches": len(found)}
    row |= {"aligned": found.aligned, "seconds": time.process_time() - start}
    if pair.homography is not None:
        points = found.keypoints0.numpy(), found.keypoints1.numpy()
        truth = pair.homography @ np.linalg.inv(to_turned)
        row["mma_3"] = float(matching_accuracy(*points, truth, [3])[0])
        estimate = found.homography
        if estimate is not None:
            estimate = estimate @ torch.from_numpy(to_turned).to(estimate)
        row["corner_error"] = scaled_error(estimate, pair.homography, image0, image1)
    if pair.pose is not None:
        row["pose_error"] = float("inf")
        if found.pose is not None:
            pose = found.pose.numpy()
            truth = pair.pose[:3, :3], pair.pose[:3, 3]
            row["pose_error"] = pose_error(pose[:, :3], pose[:, 3], *truth)
    return row


def turn_image(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image turned anticlockwise, black around it, and the matrix (3, 3) to it."""
    height, width = image.shape[:2]
    centre = (width - 1) / 2, (height - 1) / 2
    matrix = np.vstack([cv2.getRotationMatrix2D(centre, degrees, 1), [0, 0, 1]])
    sides = np.abs(matrix[:2, :2]) @ [width, height]
    columns, rows = (math.ceil(side - 1e-6) for side in sides)
    matrix[:2, 2] += (columns - width) / 2, (rows - height) / 2
    return cv2.warpAffine(image, matrix[:2], (columns, rows)), matrix


def scaled_error(
    homography: torch.Tensor | None, truth: np.ndarray, image0: np.ndarray, image1: np.ndarray
) -> float:
    """Return the mean corner error in pixels of image 1 scaled to ``SIZE``, or infinity."""
    if homography is None:
        return float("inf")
    error = corner_error(homography, torch.from_numpy(truth), *image0.shape[:2])
    return error * SIZE / max(image1.shape[:2])


def measure_in_process(text: str, folder: Path, turn: float) -> None:
    """Measure one matcher with one thread, and print a line of JSON for each pair."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        match = load(text)
    except (InputError, ValueError) as error:
        sys.exit(f"{text} is skipped: {error}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, (root, pairs) in find_sets(folder).items():
        for pair in pairs:
            if turn and pair.homography is None:
                continue
            row = {"set": name, **measure(match, root, pair, turn)}
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            sys.stdout.write(json.dumps(row | {"gigabytes": peak / 1024**2}) + "\n")
            sys.stdout.flush()


def compare(
    matchers: Sequence[str], folder: Path, output: Path, resume: bool = False, turn: float = 0.0
) -> list[Row]:
    """Measure matchers, write real_pairs.csv with a row for each pair, and print the table.

    Args:
        matchers: Names, with or without options.
        folder: Benchmarks in their original layouts.
        output: Folder of real_pairs.csv.
        resume: Keep the matchers of which real_pairs.csv has all pairs.
        turn: Degrees by which image 0 is turned, of the pairs with a homography.
    """
    console = Console(highlight=False, width=WIDTH)
    all_pairs = [pair for _, pairs in find_sets(folder).values() for pair in pairs]
    count = sum(pair.homography is not None or not turn for pair in all_pairs)
    for text in matchers:
        parse(text)
    output.mkdir(parents=True, exist_ok=True)
    path = output / "real_pairs.csv"
    measured = _read_rows(path, count, turn) if resume and path.is_file() else {}
    rows: list[Row] = []
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in (row for kept in measured.values() for row in kept):
            writer.writerow(row)
        file.flush()
        for text in matchers:
            if text in measured:
                rows += measured[text]
                continue
            for row in _run(text, folder, console, turn):
                rows.append(row)
                writer.writerow(row)
                file.flush()
    console.print(_table(rows))
    console.print(f"all pairs in {path}")
    return rows


def _read_rows(path: Path, count: int, turn: float) -> dict[str, list[Row]]:
    """Return the rows of the matchers that have as many as there are pairs, turned alike."""
    found: dict[str, list[Row]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            if float(line["turn"]) == turn:
                row: Row = {name: value for name, value in line.items() if value}
                found.setdefault(line["matcher"], []).append(row)
    return {text: rows for text, rows in found.items() if len(rows) == count}


def _table(rows: Sequence[Row]) -> Table:
    """Return a table with a row for each matcher and a column for each set."""
    sets = dict.fromkeys(str(row["set"]) for row in rows)
    title = f"MMA@3, AUC@3/5/10 of the corner error at {SIZE} px, or pose errors in degrees"
    table = Table("matcher", *sets, "CPU s", "GB", title=title)
    for text in dict.fromkeys(str(row["matcher"]) for row in rows):
        chosen = [row for row in rows if row["matcher"] == text]
        cells = [_summary([row for row in chosen if row["set"] == name]) for name in sets]
        seconds = float(np.median([float(str(row["seconds"])) for row in chosen]))
        memory = max(float(str(row["gigabytes"])) for row in chosen)
        table.add_row(_label(text), *cells, f"{seconds:.1f}", f"{memory:.2f}")
    return table


def _label(text: str) -> str:
    """Return a matcher and its options without the files of weights."""
    name, options = parse(text)
    shown = [f"{key}={value}" for key, value in options.items() if not key.endswith("weights")]
    return " ".join([name, *shown])


def _run(text: str, folder: Path, console: Console, turn: float) -> Iterator[Row]:
    """Yield the rows of a matcher that is measured in a process of its own."""
    script = Path(__file__).with_name("benchmark_match.py")
    command = [sys.executable, str(script), "--pairs", str(folder), "--one_matcher", text]
    command.append(f"--turn={turn}")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            yield {"matcher": text, "turn": turn, **json.loads(line)}
        errors = process.stderr.read().strip().splitlines()
    if process.returncode:
        console.print((errors or [f"{text} ended: out of memory?"])[-1])


def _summary(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    if "pose_error" in rows[0]:
        return " ".join(f"{float(str(row['pose_error'])):.0f}" for row in rows)
    accuracy = np.mean([float(str(row["mma_3"])) for row in rows])
    areas = area_under_recall([float(str(row["corner_error"])) for row in rows], CORNERS)
    return f"{accuracy:.2f}, {'/'.join(f'{area:.2f}' for area in areas)}".replace("0.", ".")
