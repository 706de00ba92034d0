"""Matches in files against the truth of the field's benchmarks, without any model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import corner_error
from patchmatch.pairs.benchmarks import TruePair
from patchmatch.pairs.geometry import (
    THRESHOLDS,
    area_under_recall,
    estimate_essential,
    estimate_homography,
    matching_accuracy,
    pose_error,
    relative_pose,
)

CORNERS, DEGREES = (3, 5, 10), (5, 10, 20)  # thresholds of the areas: pixels, degrees


@dataclass(frozen=True)
class Prediction:
    """Matches as a run left them, the best first.

    Attributes:
        keypoints0: (N, 2), x and y in pixels of the file.
        keypoints1: (N, 2), the partners.
        size0: Height and width of the file of image 0.
        size1: The same of image 1.
    """

    keypoints0: np.ndarray
    keypoints1: np.ndarray
    size0: tuple[int, int]
    size1: tuple[int, int]


@dataclass(frozen=True)
class Protocol:
    """How homographies and poses are estimated.

    Attributes:
        resize: Pixels of the shorter side to which both pictures of a plane count as resized, and
            in which errors of corners are measured; None for the files' own. LoFTR has 480.
        max_matches: Only the best so many are used for the estimate; None for all. LoFTR has 1000.
        threshold: Pixels within which a match agrees with a homography.
        pose_threshold: Pixels within which a match agrees with an essential matrix.
        seed: Of the random samples.
    """

    resize: int | None = None
    max_matches: int | None = None
    threshold: float = 3.0
    pose_threshold: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what nothing can be measured by."""
        for name in ("resize", "max_matches", "threshold", "pose_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"--{name} must be above 0, got {value}")

    def __str__(self) -> str:
        size = "files' own size" if self.resize is None else f"shorter side {self.resize}"
        cap = "all matches" if self.max_matches is None else f"best {self.max_matches} matches"
        return (
            f"MAGSAC++ (OpenCV), {self.threshold:g} px for homographies, {self.pose_threshold:g} "
            f"px for poses; {size}; {cap}; seed {self.seed}; accuracy of all matches in pixels of "
            "the files"
        )


def read_predictions(folder: str | Path) -> dict[tuple[str, ...], Prediction]:
    """Read what a run has written, by the parts of the paths of both pictures.

    Args:
        folder: The run's folder, which holds pairs/*/matches.npz.

    Raises:
        InputError: If there are none, or one is damaged.
    """
    paths = sorted(Path(folder).glob("pairs/*/matches.npz"))
    if not paths:
        raise InputError(f"{folder}: holds no pairs/*/matches.npz; give the folder of a run")
    found = {}
    for path in paths:
        try:
            with np.load(path) as arrays:
                key = (str(arrays["image0"]), str(arrays["image1"]))
                found[key] = Prediction(
                    arrays["keypoints0"].astype(float),
                    arrays["keypoints1"].astype(float),
                    tuple(arrays["size0"].tolist()),
                    tuple(arrays["size1"].tolist()),
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"{path}: is damaged or of another program ({error})") from error
    return found


def score_pair(pair: TruePair, found: Prediction | None, protocol: Protocol) -> dict[str, float]:
    """Return the numbers of a pair: matches, accuracy or error, and the inliers of the estimate.

    A missing prediction found nothing.
    """
    none = np.zeros((0, 2))
    points0, points1 = (none, none) if found is None else (found.keypoints0, found.keypoints1)
    numbers: dict[str, float] = {"matches": len(points0), "missing": float(found is None)}
    best0, best1 = points0[: protocol.max_matches], points1[: protocol.max_matches]
    if pair.homography is not None:
        accuracy = matching_accuracy(points0, points1, pair.homography)
        numbers |= {f"mma_{t}": float(a) for t, a in zip(THRESHOLDS, accuracy, strict=True)}
        numbers["corner_error"], numbers["inliers"] = np.inf, 0
        if found is not None:
            scale0 = _resizing(found.size0, protocol.resize)
            scale1 = _resizing(found.size1, protocol.resize)
            estimate = estimate_homography(
                _moved(best0, scale0), _moved(best1, scale1), protocol.threshold, protocol.seed
            )
            numbers["inliers"] = int(estimate.inliers.sum())
            if estimate.model is not None:
                truth = scale1 @ pair.homography @ np.linalg.inv(scale0)
                height, width = (round(side * scale0[0, 0]) for side in found.size0)
                numbers["corner_error"] = corner_error(
                    torch.from_numpy(estimate.model), torch.from_numpy(truth), height, width
                )
    if pair.pose is not None and pair.intrinsics0 is not None and pair.intrinsics1 is not None:
        numbers["pose_error"], numbers["inliers"] = np.inf, 0
        if found is not None:
            if pair.size is not None:  # that of which the intrinsics speak
                best0 = _moved(best0, _between(found.size0, pair.size))
                best1 = _moved(best1, _between(found.size1, pair.size))
            cameras = pair.intrinsics0, pair.intrinsics1
            estimate = estimate_essential(
                best0, best1, *cameras, protocol.pose_threshold, protocol.seed
            )
            numbers["inliers"] = int(estimate.inliers.sum())
            pose = relative_pose(estimate, best0, best1, *cameras)
            if pose is not None:
                numbers["pose_error"] = pose_error(*pose, pair.pose[:3, :3], pair.pose[:3, 3])
    return numbers


def score_benchmark(
    truth: Sequence[TruePair],
    predictions: Mapping[tuple[str, ...], Prediction],
    protocol: Protocol,
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return a row for each group and for all, and a row for each pair.

    A pair without prediction counts as one without matches: its accuracy is 0 and its error
    infinite, and ``missing`` counts it.
    """
    pairs: list[dict[str, object]] = []
    for pair in truth:
        numbers = score_pair(pair, _of(pair, predictions), protocol)
        about = {"group": pair.group, "image0": pair.image0, "image1": pair.image1}
        pairs.append({**about, **numbers})
    groups = list(dict.fromkeys(pair.group for pair in truth))
    rows = [_summary(group, [p for p in pairs if p["group"] == group]) for group in groups]
    if len(groups) > 1:
        rows.append(_summary("all", pairs))
    return rows, pairs


def _summary(name: str, pairs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    def values(key: str) -> list[float]:
        return [float(str(pair[key])) for pair in pairs]

    row: dict[str, object] = {
        "group": name,
        "pairs": len(pairs),
        "missing": int(sum(values("missing"))),
        "matches": float(np.mean(values("matches"))),
        "inliers": float(np.mean(values("inliers"))),
    }
    if "corner_error" in pairs[0]:
        row |= {f"mma_{t}": float(np.mean(values(f"mma_{t}"))) for t in THRESHOLDS}
        areas = area_under_recall(values("corner_error"), CORNERS)
        row |= {f"corner_auc_{t}": area for t, area in zip(CORNERS, areas, strict=True)}
    if "pose_error" in pairs[0]:
        areas = area_under_recall(values("pose_error"), DEGREES)
        row |= {f"pose_auc_{t}": area for t, area in zip(DEGREES, areas, strict=True)}
    return row


def _of(pair: TruePair, predictions: Mapping[tuple[str, ...], Prediction]) -> Prediction | None:
    """Return the prediction whose two paths end as those of the pair do."""
    for (image0, image1), found in predictions.items():
        if f"/{image0}".endswith(f"/{pair.image0}") and f"/{image1}".endswith(f"/{pair.image1}"):
            return found
    return None


def _resizing(size: tuple[int, int], shorter: int | None) -> np.ndarray:
    """Return the matrix that resizes a picture until its shorter side has so many pixels."""
    scale = 1.0 if shorter is None else shorter / min(size)
    return _scaling(scale, scale)


def _between(size: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    return _scaling(other[1] / size[1], other[0] / size[0])


def _scaling(x: float, y: float) -> np.ndarray:
    """Return a scaling that keeps the corner of the top-left pixel, not its centre."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:2, :2].T + matrix[:2, 2]
