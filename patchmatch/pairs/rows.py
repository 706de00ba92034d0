"""Rows of pairs.csv and of the matches.csv of a pair, with None for unknown values."""

from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from patchmatch.core.image_pairs import ImagePair
from patchmatch.pairs.geometry import symmetric_epipolar_distance
from patchmatch.pairs.results import Matches
from patchmatch.pairs.verdict import overlap_kind
from patchmatch.writing.chunks import Row
from patchmatch.writing.rows import number

MATCHES = ("x0", "y0", "x1", "y1", "score", "inlier", "epipolar_inlier", "epipolar_error")
ENTRIES = tuple(f"h{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))
EPIPOLAR = tuple(f"e{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))
PAIRS = (
    *("name", "image0", "image1", "width0", "height0", "width1", "height1", "kind", "matches"),
    *("inliers", "mean_score", "seconds", *ENTRIES, "epipolar_inliers", *EPIPOLAR, "aligned"),
    "epipolar_error",
    "matcher",
)


def match_rows(matches: Matches) -> list[Row]:
    """Return a row of matches.csv for each match."""
    inliers = homography_inliers(matches).int().tolist()
    epipolar: list[int | None] = [None] * len(matches)
    if matches.epipolar_inliers is not None:
        epipolar = matches.epipolar_inliers.int().tolist()
    errors = [number(error, 3) for error in _epipolar_errors(matches)] or [None] * len(matches)
    rows: list[Row] = []
    for point0, point1, score, *inlier in zip(
        matches.keypoints0.tolist(),
        matches.keypoints1.tolist(),
        matches.score.tolist(),
        inliers,
        epipolar,
        errors,
        strict=True,
    ):
        values = (*(f"{value:.3f}" for value in (*point0, *point1)), f"{score:.4f}", *inlier)
        rows.append(dict(zip(MATCHES, values, strict=True)))
    return rows


def pair_row(matches: Matches, batch: ImagePair) -> Row:
    """Return the row of pairs.csv of a pair."""
    (height0, width0), (height1, width1) = batch["sizes"]
    return {
        "name": batch["name"],
        "image0": batch["names"][0],
        "image1": batch["names"][1],
        "width0": width0,
        "height0": height0,
        "width1": width1,
        "height1": height1,
        "kind": overlap_kind(matches),
        "matches": len(matches),
        "inliers": int(homography_inliers(matches).sum()),
        "mean_score": number(matches.score.mean().item()) if len(matches) else None,
        "seconds": None if matches.seconds is None else number(matches.seconds, 3),
        **_entries(ENTRIES, matches.homography),
        "epipolar_inliers": (
            None if matches.epipolar_inliers is None else int(matches.epipolar_inliers.sum())
        ),
        **_entries(EPIPOLAR, matches.epipolar),
        "aligned": None if matches.aligned is None else number(matches.aligned, 3),
        "epipolar_error": _median_epipolar_error(matches),
        "matcher": matches.matcher,
    }


def _epipolar_errors(matches: Matches) -> list[float]:
    """Return the symmetric epipolar distance of each match; empty without a matrix."""
    if matches.fundamental is None:
        return []
    points = matches.keypoints0.numpy(), matches.keypoints1.numpy()
    return symmetric_epipolar_distance(*points, matches.fundamental.numpy()).tolist()


def _median_epipolar_error(matches: Matches) -> float | None:
    """Return the median symmetric epipolar distance of the inliers; None without any."""
    if matches.fundamental is None or matches.epipolar_inliers is None:
        return None
    errors = _epipolar_errors(matches[matches.epipolar_inliers])
    return number(median(errors), 3) if errors else None


def _entries(names: Sequence[str], matrix: Tensor | None) -> Row:
    """Return the entries of a matrix in row-major order; None for each entry without a matrix."""
    if matrix is None:
        return dict.fromkeys(names)
    values = [float(f"{value:.9g}") for value in matrix.flatten().tolist()]
    return dict(zip(names, values, strict=True))


def homography_inliers(matches: Matches) -> Tensor:
    """Return which matches are inliers of the homography, (N,) bool; none without one."""
    if matches.inliers is None:
        return torch.zeros(len(matches), dtype=torch.bool)
    return matches.inliers
