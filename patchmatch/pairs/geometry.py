"""Robust estimation from matches (homography, fundamental and essential matrix), and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

ITERATIONS, CONFIDENCE = 10_000, 0.999_99
MIN_MATCHES = {"homography": 4, "fundamental": 8, "essential": 5}
THRESHOLDS = tuple(range(1, 11))  # pixels, of the mean matching accuracy


@dataclass(frozen=True)
class Estimate:
    """A model of two views and its inliers.

    Attributes:
        model: (3, 3) float64; None if too few matches agree on one.
        inliers: (N,) bool, all False without a model.
    """

    model: np.ndarray | None
    inliers: np.ndarray


def estimate_homography(
    points0: np.ndarray, points1: np.ndarray, threshold: float = 3.0, seed: int = 0
) -> Estimate:
    """Estimate a homography by MAGSAC++ (Barath et al. 2020) of OpenCV.

    Args:
        points0: (N, 2), x and y in pixels of image 0.
        points1: (N, 2), the corresponding points of image 1.
        threshold: Inlier threshold: reprojection error in pixels of image 1.
        seed: Seed of the random samples; the same seed gives the same result.

    Returns:
        The homography from image 0 to image 1, last entry 1. It has no model for fewer than four
        matches, and if all of them lie on a line.
    """
    points0, points1 = _as_points(points0), _as_points(points1)
    if len(points0) < MIN_MATCHES["homography"]:
        return _no_model(points0)
    model, mask = cv2.findHomography(points0, points1, _usac(threshold, seed))
    if model is None or model.shape != (3, 3) or not np.isfinite(model).all():
        return _no_model(points0)
    inliers = mask.ravel().astype(bool)
    if inliers.sum() < MIN_MATCHES["homography"] or abs(np.linalg.det(model)) < 1e-12:
        return _no_model(points0)
    return Estimate(model / model[2, 2] if model[2, 2] else model, inliers)


def estimate_fundamental(
    points0: np.ndarray, points1: np.ndarray, threshold: float = 1.0, seed: int = 0
) -> Estimate:
    """Estimate a fundamental matrix F with x1 F x0 = 0, see ``estimate_homography``.

    The threshold is the distance from the epipolar line. At least eight matches are required.
    """
    points0, points1 = _as_points(points0), _as_points(points1)
    if len(points0) < MIN_MATCHES["fundamental"]:
        return _no_model(points0)
    model, mask = cv2.findFundamentalMat(points0, points1, _usac(threshold, seed))
    if model is None or model.shape != (3, 3) or mask is None:
        return _no_model(points0)
    return Estimate(model, mask.ravel().astype(bool))


def estimate_essential(
    points0: np.ndarray,
    points1: np.ndarray,
    intrinsics0: np.ndarray,
    intrinsics1: np.ndarray,
    threshold: float = 0.5,
    seed: int = 0,
) -> Estimate:
    """Estimate an essential matrix from matches and intrinsics, see ``estimate_homography``.

    Args:
        points0: (N, 2), x and y in pixels of image 0.
        points1: (N, 2), the corresponding points of image 1.
        intrinsics0: (3, 3), camera matrix of image 0.
        intrinsics1: (3, 3), camera matrix of image 1.
        threshold: Distance from the epipolar line in pixels, at the mean focal length.
        seed: Seed of the random samples.
    """
    rays0, rays1 = _rays(points0, intrinsics0), _rays(points1, intrinsics1)
    if len(rays0) < MIN_MATCHES["essential"]:
        return _no_model(rays0)
    focal = float(np.mean([k[i, i] for k in (intrinsics0, intrinsics1) for i in (0, 1)]))
    identity, no_distortion = np.eye(3), np.zeros(0)
    model, mask = cv2.findEssentialMat(
        rays0,
        rays1,
        identity,
        identity,
        no_distortion,
        no_distortion,
        _usac(threshold / focal, seed),
    )
    if model is None or model.shape != (3, 3) or mask is None:
        return _no_model(rays0)
    return Estimate(model, mask.ravel().astype(bool))


def relative_pose(
    estimate: Estimate,
    points0: np.ndarray,
    points1: np.ndarray,
    intrinsics0: np.ndarray,
    intrinsics1: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rotation (3, 3) and unit translation (3,) from camera 0 to camera 1.

    Of the four solutions of an essential matrix, this is the one with the most points in front of
    both cameras. Returns None without inliers.
    """
    if estimate.model is None or not estimate.inliers.any():
        return None
    rays0, rays1 = _rays(points0, intrinsics0), _rays(points1, intrinsics1)
    chosen = estimate.inliers
    _, rotation, translation, _ = cv2.recoverPose(
        estimate.model, rays0[chosen], rays1[chosen], np.eye(3)
    )
    return rotation, translation[:, 0]


def pose_error(
    rotation: np.ndarray,
    translation: np.ndarray,
    true_rotation: np.ndarray,
    true_translation: np.ndarray,
) -> float:
    """Return the larger of the angular errors of rotation and translation direction, in degrees.

    The sign of the translation is ignored, as in the evaluations of SuperGlue and LoFTR. The
    translation is ignored if the true camera does not move.
    """
    cosine = (np.trace(rotation.T @ true_rotation) - 1) / 2
    rotation_error = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    lengths = np.linalg.norm(translation) * np.linalg.norm(true_translation)
    if lengths < 1e-12:
        return float(rotation_error)
    cosine = translation @ true_translation / lengths
    direction_error = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(max(rotation_error, min(direction_error, 180 - direction_error)))


def symmetric_epipolar_distance(
    points0: np.ndarray, points1: np.ndarray, fundamental: np.ndarray
) -> np.ndarray:
    """Return the mean distance of both points of a match from the epipolar lines of each other.

    Args:
        points0: (N, 2), x and y in pixels of image 0.
        points1: (N, 2), the corresponding points of image 1.
        fundamental: (3, 3), F with x1 F x0 = 0 for pixels.

    Returns:
        (N,) in pixels.
    """
    points0, points1 = (np.c_[_as_points(p), np.ones(len(p))] for p in (points0, points1))
    lines1, lines0 = points0 @ fundamental.T, points1 @ fundamental  # (N, 3)
    residual = np.abs((points1 * lines1).sum(axis=1))
    normals = [np.linalg.norm(lines[:, :2], axis=1) for lines in (lines0, lines1)]
    distances = [residual / np.maximum(normal, 1e-300) for normal in normals]
    return np.mean(distances, axis=0)


def matching_accuracy(
    points0: np.ndarray,
    points1: np.ndarray,
    homography: np.ndarray,
    thresholds: Sequence[float] = THRESHOLDS,
) -> np.ndarray:
    """Return the share of matches with an error of at most each threshold.

    Args:
        points0: (N, 2), x and y in image 0.
        points1: (N, 2), the corresponding points of image 1.
        homography: Ground truth from image 0 to image 1.
        thresholds: Pixels of image 1.

    Returns:
        (T,) in [0, 1]; zeros without matches, as in the literature.
    """
    points0, points1 = _as_points(points0), _as_points(points1)
    if not len(points0):
        return np.zeros(len(thresholds))
    warped = np.c_[points0, np.ones(len(points0))] @ homography.T
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.linalg.norm(warped[:, :2] / warped[:, 2:] - points1, axis=1)
    return np.array([(error <= threshold).mean() for threshold in thresholds])


def area_under_recall(errors: Sequence[float], thresholds: Sequence[float]) -> list[float]:
    """Return the area under the curve of recall over error up to each threshold, in [0, 1].

    The curve starts at (0, 0), connects the points (sorted error, share of pairs with at most that
    error) by straight lines, and is constant from the last error below the threshold on, as in the
    evaluation of SuperGlue.

    Args:
        errors: One per pair; infinite where nothing was estimated.
        thresholds: In the unit of the errors.
    """
    if not len(errors):
        return [0.0] * len(thresholds)
    ordered = np.concatenate([[0.0], np.sort(np.asarray(errors, float))])
    recall = np.arange(len(ordered)) / len(errors)
    areas = []
    for threshold in thresholds:
        last = int(np.searchsorted(ordered, threshold))
        x = np.concatenate([ordered[:last], [threshold]])
        y = np.concatenate([recall[:last], [recall[last - 1]]])
        areas.append(float(np.trapezoid(y, x) / threshold))
    return areas


def _usac(threshold: float, seed: int) -> cv2.UsacParams:
    parameters = cv2.UsacParams()
    parameters.threshold = threshold
    parameters.confidence, parameters.maxIterations = CONFIDENCE, ITERATIONS
    parameters.score = cv2.SCORE_METHOD_MAGSAC
    parameters.sampler = cv2.SAMPLING_UNIFORM
    parameters.loMethod = cv2.LOCAL_OPTIM_SIGMA
    parameters.loIterations, parameters.loSampleSize = 10, 50
    parameters.final_polisher = cv2.COV_POLISHER
    parameters.final_polisher_iterations = 3
    parameters.isParallel = False  # otherwise the same seed may give another result
    parameters.randomGeneratorState = seed
    return parameters


def _as_points(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 2)


def _rays(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Return points in normalised camera coordinates, (N, 2)."""
    rays = np.c_[_as_points(points), np.ones(len(points))] @ np.linalg.inv(intrinsics).T
    return np.ascontiguousarray(rays[:, :2])


def _no_model(points: np.ndarray) -> Estimate:
    return Estimate(None, np.zeros(len(points), bool))
