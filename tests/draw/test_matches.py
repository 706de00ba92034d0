import numpy as np
import pytest

from patchmatch.draw import draw_checkerboard, draw_matches, draw_panorama
from patchmatch.draw.matches import INLIER, OUTLIER, spread_points

SHIFT = np.array([[1, 0, -30], [0, 1, 10], [0, 0, 1.0]])


@pytest.fixture
def scene():
    x = np.linspace(30, 220, 130)[None, :] * np.ones((90, 1))
    return np.stack([x, x[:, ::-1], 0.5 * x], axis=-1).astype(np.uint8)


def has(image, color):
    return bool((np.abs(image.astype(int) - color).sum(axis=-1) < 12).any())


def test_inliers_and_outliers_have_different_colors():
    black = np.zeros((60, 80), np.uint8)
    points = np.array([[10, 10], [50, 40.0]])
    for inliers, expected in (
        ([True, True], (True, False)),
        ([False, False], (False, True)),
        (None, (False, True)),
    ):
        drawn = draw_matches(black, black, points, points, inliers)
        assert (has(drawn, INLIER), has(drawn, OUTLIER)) == expected


def test_line_ends_at_its_keypoints():
    black = np.zeros((60, 80), np.uint8)
    drawn = draw_matches(black, black, np.array([[10.0, 20.0]]), np.array([[30.0, 40.0]]), [True])
    assert tuple(drawn[20, 10]) == tuple(drawn[40, 80 + 8 + 30]) == INLIER


def test_wide_images_are_stacked():
    drawn = draw_matches(*[np.zeros((20, 400), np.uint8)] * 2, np.zeros((0, 2)), np.zeros((0, 2)))
    assert drawn.shape[1] == 400
    assert drawn.shape[0] < 80


def test_large_images_are_shrunk_and_the_number_of_lines_is_limited():
    black = np.zeros((600, 900), np.uint8)
    points = np.random.default_rng(0).uniform(0, 590, (5000, 2))
    many = draw_matches(black, black, points, points, np.ones(5000, bool), 10_000, 400)
    few = draw_matches(black, black, points, points, np.ones(5000, bool), 20, 400)
    assert max(few.shape) <= 410
    lit = [(image[:200].max(axis=-1) > 20).mean() for image in (few, many)]
    assert 0.01 < lit[0] < 0.5 < lit[1]


def test_selected_points_are_spread_over_the_image():
    """Three quarters of the points are in one corner and come first."""
    rng = np.random.default_rng(0)
    points = np.r_[rng.uniform(0, 60, (900, 2)), rng.uniform(0, 590, (300, 2))]
    kept = points[spread_points(points, np.arange(1200), 100)]
    assert len(kept) == 100
    assert (kept.max(axis=1) > 100).mean() > 0.6
    assert len(spread_points(points, np.arange(50), 100)) == 50


def test_panorama_contains_both_images(scene):
    first, second = scene[:70, 30:], scene[10:, :100]
    # first[y, x] = scene[y, x + 30] = second[y - 10, x + 30]
    homography = np.array([[1, 0, 30], [0, 1, -10], [0, 0, 1.0]])
    panorama = draw_panorama(first, second, homography)
    assert panorama.shape == scene.shape
    covered = np.zeros(scene.shape[:2], bool)
    covered[:70, 30:] = covered[10:, :100] = True
    error = np.abs(panorama.astype(int) - scene).max(axis=-1)
    assert error[covered].max() <= 3
    assert panorama[~covered].max() == 0


def test_panorama_equalises_brightness(scene):
    dark = (scene * 0.6).astype(np.uint8)
    panorama = draw_panorama(
        dark[:, 30:], scene[:, :100], np.array([[1, 0, 30], [0, 1, 0], [0, 0, 1.0]])
    )
    assert np.abs(panorama.astype(int) - scene).mean() < 6


@pytest.mark.parametrize(
    "homography",
    [
        np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1]]),  # a column is mapped to infinity
        np.diag([90.0, 90, 1]),
        np.full((3, 3), np.nan),
    ],
)
def test_degenerate_homography_gives_no_panorama(scene, homography):
    assert draw_panorama(scene, scene, homography) is None


def test_large_panorama_is_shrunk(scene):
    assert max(draw_panorama(scene, scene, SHIFT, size=64).shape[:2]) == 64


def test_checkerboard_of_aligned_images_is_the_image(scene):
    board = draw_checkerboard(scene, scene, np.eye(3))
    assert np.array_equal(board, scene)
    board = draw_checkerboard(255 - scene, scene, np.eye(3), squares=13)
    assert np.array_equal(board[:10, :10], scene[:10, :10])
    assert np.array_equal(board[:10, 10:20], 255 - scene[:10, 10:20])
