"""Evaluation of matches in files against the ground truth of benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import corner_error, resize_homography
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

CORNERS, DEGREES = (3, 5, 10), (5, 10, 20)  # thresholds of the AUC, in pixels and degrees


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Matches of a pair, the best first.

    Attributes:
        keypoints0: (N, 2), x and y in pixels of the file.
        keypoints1: (N, 2), the corresponding points.
        size0: Height and width of the file of image 0.
        size1: Height and width of the file of image 1.
    """

    keypoints0: np.ndarray
    keypoints1: np.ndarray
    size0: tuple[int, int]
    size1: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the evaluation.

    Attributes:
        resize: Shorter side in pixels of the images at which homographies are estimated and corner
            errors are measured; None for the size of the files. LoFTR uses 480.
        max_matches: Number of best matches to estimate from; None for all. LoFTR uses 1000.
        threshold: Inlier threshold of homographies in pixels.
        pose_threshold: Inlier threshold of essential matrices in pixels.
        seed: Seed of the random samples.
    """

    resize: int | None = None
    max_matches: int | None = None
    threshold: float = 3.0
    pose_threshold: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("resize", "max_matches", "threshold", "pose_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"--{name} must be above 0, got {value}")

    def __str__(self) -> str:
        size = "size of the files" if self.resize is None else f"shorter side {self.resize}"
        count = "all matches" if self.max_matches is None else f"best {self.max_matches} matches"
        return (
            f"MAGSAC++ (OpenCV), {self.threshold:g} px for homographies, {self.pose_threshold:g} "
            f"px for poses; {size}; {count}; seed {self.seed}; accuracy of all matches in pixels "
            "of the files"
        )


def read_predictions(folder: str | Path) -> dict[tuple[str, ...], Prediction]:
    """Read the matches of a run, by the paths of both images.

    Args:
        folder: Output folder of the run, with pairs/*/matches.npz.

    Raises:
        InputError: If there are none, or one is damaged.
    """
    paths = sorted(Path(folder).glob("pairs/*/matches.npz"))
    if not paths:
        raise InputError(
            f"{folder}: contains no matches, changes, objects, detections or disparities; give the "
            "output folder of a run that has one of them"
        )
    found = {}
    for path in paths:
        try:
            with np.load(path) as arrays:
                key = (str(arrays["image0"]), str(arrays["image1"]))
                found[key] = Prediction(
                    keypoints0=arrays["keypoints0"].astype(float),
                    keypoints1=arrays["keypoints1"].astype(float),
                    size0=tuple(arrays["size0"].tolist()),
                    size1=tuple(arrays["size1"].tolist()),
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"{path}: cannot be read ({error}); predict the pair again") from error
    return found


def score_pair(pair: TruePair, found: Prediction | None, protocol: Protocol) -> dict[str, float]:
    """Return the metrics of a pair: numbers of matches and inliers, accuracy and errors.

    A missing prediction counts as one without matches.
    """
    empty = np.zeros((0, 2))
    points0, points1 = (empty, empty) if found is None else (found.keypoints0, found.keypoints1)
    numbers: dict[str, float] = {"matches": len(points0), "missing": float(found is None)}
    best0, best1 = points0[: protocol.max_matches], points1[: protocol.max_matches]
    if pair.homography is not None:
        accuracy = matching_accuracy(points0, points1, pair.homography)
        numbers |= {f"mma_{t}": float(a) for t, a in zip(THRESHOLDS, accuracy, strict=True)}
        numbers["corner_error"], numbers["inliers"] = np.inf, 0
        if found is not None:
            scale0 = _scale_shorter_side(found.size0, protocol.resize)
            scale1 = _scale_shorter_side(found.size1, protocol.resize)
            estimate = estimate_homography(
                _transform(best0, scale0),
                _transform(best1, scale1),
                protocol.threshold,
                protocol.seed,
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
            if pair.size is not None:  # at which the intrinsics hold
                best0 = _transform(best0, resize_homography(found.size0, pair.size).numpy())
                best1 = _transform(best1, resize_homography(found.size1, pair.size).numpy())
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
    """Return a table with a row for each group and for all pairs, and one with a row for each pair.

    A pair without prediction has accuracy 0 and infinite error, and is counted in ``missing``.
    ``corner_mean`` is the mean over the pairs with a homography, ``corner_median`` that of all.
    """
    pairs: list[dict[str, object]] = []
    for pair in truth:
        numbers = score_pair(pair, _find_prediction(pair, predictions), protocol)
        names = {"group": pair.group, "image0": pair.image0, "image1": pair.image1}
        pairs.append({**names, **numbers})
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
        errors = np.array(values("corner_error"))
        finite = errors[np.isfinite(errors)]
        row["corner_mean"] = float(finite.mean()) if len(finite) else float("nan")
        row["corner_median"] = float(np.median(errors))
        row |= {f"corner_auc_{t}": area for t, area in zip(CORNERS, areas, strict=True)}
    if "pose_error" in pairs[0]:
        areas = area_under_recall(values("pose_error"), DEGREES)
        row |= {f"pose_auc_{t}": area for t, area in zip(DEGREES, areas, strict=True)}
    return row


def _find_prediction(
    pair: TruePair, predictions: Mapping[tuple[str, ...], Prediction]
) -> Prediction | None:
    """Return the prediction whose two paths end with those of the pair."""
    for (image0, image1), found in predictions.items():
        if f"/{image0}".endswith(f"/{pair.image0}") and f"/{image1}".endswith(f"/{pair.image1}"):
            return found
    return None


def _scale_shorter_side(size: tuple[int, int], shorter: int | None) -> np.ndarray:
    """Return the transform of points when the shorter side is resized to ``shorter`` pixels."""
    s = 1.0 if shorter is None else shorter / min(size)
    return np.array([[s, 0, (s - 1) / 2], [0, s, (s - 1) / 2], [0, 0, 1]])


def _transform(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return points @ affine[:2, :2].T + affine[:2, 2]
