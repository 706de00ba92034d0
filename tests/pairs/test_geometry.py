import math

import cv2
import numpy as np
import pytest

from patchmatch.pairs.geometry import (
    area_under_recall,
    estimate_essential,
    estimate_fundamental,
    estimate_homography,
    matching_accuracy,
    pose_error,
    relative_pose,
    symmetric_epipolar_distance,
)

TRUTH = np.array([[0.9, 0.1, 20], [-0.08, 1.1, 5], [1e-4, -5e-5, 1]])
CAMERA = np.array([[500, 0, 320], [0, 480, 240], [0, 0, 1.0]])
ROTATION = cv2.Rodrigues(np.array([0.1, -0.2, 0.05]))[0]
TRANSLATION = np.array([0.5, 0.1, 0.2])


def warped(points):
    homogeneous = np.c_[points, np.ones(len(points))] @ TRUTH.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def plane(rng):
    """Two hundred matches on a plane, followed by as many outliers."""
    points0 = rng.uniform(0, 600, (400, 2))
    points1 = warped(points0) + rng.normal(0, 0.5, (400, 2))
    points1[200:] = rng.uniform(0, 600, (200, 2))
    return points0, points1


@pytest.fixture
def scene(rng):
    """Two hundred matches of a scene with depth, followed by a hundred outliers."""
    points = rng.uniform(-1, 1, (300, 3)) + np.array([0, 0, 4])
    views = []
    for seen in (points, points @ ROTATION.T + TRANSLATION):
        projected = seen @ CAMERA.T
        views.append(projected[:, :2] / projected[:, 2:])
    views[1] += rng.normal(0, 0.3, (300, 2))
    views[1][200:] = rng.uniform(0, 600, (100, 2))
    return views


def test_homography_is_estimated_with_half_outliers(plane):
    found = estimate_homography(*plane)
    assert found.inliers[:200].mean() > 0.98
    assert found.inliers[200:].mean() < 0.02
    corners = np.array([[0, 0], [600, 0], [600, 600], [0, 600.0]])
    moved = np.c_[corners, np.ones(4)] @ found.model.T
    assert np.abs(moved[:, :2] / moved[:, 2:] - warped(corners)).max() < 0.6


def test_homography_is_deterministic(plane):
    assert np.array_equal(
        estimate_homography(*plane, seed=3).model, estimate_homography(*plane, seed=3).model
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_four_matches_give_no_homography(plane, count):
    found = estimate_homography(plane[0][:count], plane[1][:count])
    assert found.model is None
    assert found.inliers.tolist() == [False] * count


def test_four_matches_give_the_exact_homography():
    corners = np.array([[0, 0], [600, 0], [600, 400], [0, 400.0]])
    assert estimate_homography(corners, warped(corners)).model == pytest.approx(TRUTH, abs=1e-6)


@pytest.mark.parametrize("points", [np.zeros((9, 2)), np.repeat(np.arange(9.0), 2).reshape(9, 2)])
def test_collinear_matches_give_no_homography(points):
    assert estimate_homography(points, points).model is None


def test_fundamental_matrix_separates_inliers_from_outliers(scene):
    found = estimate_fundamental(*scene)
    assert found.inliers[:200].mean() > 0.9
    assert found.inliers[200:].mean() < 0.1
    assert estimate_fundamental(scene[0][:7], scene[1][:7]).model is None


def test_relative_pose_is_estimated(scene):
    found = estimate_essential(*scene, CAMERA, CAMERA)
    pose = relative_pose(found, *scene, CAMERA, CAMERA)
    assert pose_error(*pose, ROTATION, TRANSLATION) < 4
    assert (
        relative_pose(
            estimate_essential(scene[0][:4], scene[1][:4], CAMERA, CAMERA), *scene, CAMERA, CAMERA
        )
        is None
    )


def test_convention_epipolar_matrices_take_points_of_image0_to_lines_of_image1(scene):
    found = estimate_fundamental(*scene)
    homogeneous = [np.c_[points[found.inliers], np.ones(found.inliers.sum())] for points in scene]
    lines = homogeneous[0] @ found.model.T  # a x + b y + c = 0 in image 1
    error = np.abs((lines * homogeneous[1]).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
    assert np.median(error) < 0.5
    back = np.abs((homogeneous[1] @ found.model.T * homogeneous[0]).sum(axis=1))
    assert np.median(back / np.linalg.norm((homogeneous[1] @ found.model.T)[:, :2], axis=1)) > 5


def test_convention_pose_brings_camera0_to_camera1(scene):
    found = estimate_essential(*scene, CAMERA, CAMERA)
    rotation, direction = relative_pose(found, *scene, CAMERA, CAMERA)
    assert rotation == pytest.approx(ROTATION, abs=0.05)
    assert direction == pytest.approx(TRANSLATION / np.linalg.norm(TRANSLATION), abs=0.15)


def test_pose_error_is_the_larger_angle_without_the_sign():
    rotation = cv2.Rodrigues(np.array([0, 0, math.radians(7)]))[0]
    forward, oblique = np.array([0, 0, 1.0]), np.array([0, math.sin(0.2), math.cos(0.2)])
    assert pose_error(rotation, forward, np.eye(3), forward) == pytest.approx(7)
    assert pose_error(rotation, -3 * oblique, np.eye(3), forward) == pytest.approx(
        math.degrees(0.2)
    )
    assert pose_error(rotation, oblique, np.eye(3), 0 * forward) == pytest.approx(7)


def test_matching_accuracy_counts_errors_up_to_the_threshold():
    points = np.array([[0, 0], [10, 0], [0, 10], [7, 7.0]])
    off = points + np.array([[0, 0], [1, 0], [0, 2.5], [30, 40]])
    assert matching_accuracy(points, off, np.eye(3), [0.5, 1, 2, 3]).tolist() == [
        0.25,
        0.5,
        0.5,
        0.75,
    ]
    assert matching_accuracy(points[:0], off[:0], np.eye(3), [1, 2]).tolist() == [0, 0]


def test_area_under_recall_equals_manual_results():
    # (0, 0) to (1, 1/2) to (4, 1/2), without the failed pair
    assert area_under_recall([1.0, math.inf], [4.0]) == pytest.approx([(0.25 + 1.5) / 4])
    # (0, 0), (1, 1/3), (2, 2/3), then constant to 4
    assert area_under_recall([2.0, 9.0, 1.0], [4.0]) == pytest.approx([(1 / 6 + 1 / 2 + 4 / 3) / 4])
    assert area_under_recall([0.0, 0.0], [3.0]) == pytest.approx([1])
    assert area_under_recall([], [3.0, 5.0]) == [0, 0]


def test_symmetric_epipolar_distance_is_the_mean_of_both_distances():
    """Lines of image 1 are rows at twice the height: y1 = 2 y0."""
    fundamental = np.array([[0, 0, 0], [0, 0, -1], [0, 2, 0.0]])
    points0, points1 = np.array([[3, 4], [7, 1.0]]), np.array([[9, 8], [2, 5.0]])
    found = symmetric_epipolar_distance(points0, points1, fundamental)
    # y1 is 3 pixels from the line of the second match, and y0 is 1.5 pixels from its line
    assert found.tolist() == pytest.approx([0, (3 + 1.5) / 2])
    assert symmetric_epipolar_distance(points0[:0], points1[:0], fundamental).shape == (0,)
