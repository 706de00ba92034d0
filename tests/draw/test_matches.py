import numpy as np
import pytest

from patchmatch.draw import draw_checkerboard, draw_matches, draw_panorama
from patchmatch.draw.matches import INLIER, OUTLIER, _spread

SHIFT = np.array([[1, 0, -30], [0, 1, 10], [0, 0, 1.0]])


@pytest.fixture
def scene():
    x = np.linspace(30, 220, 130)[None, :] * np.ones((90, 1))
    return np.stack([x, x[:, ::-1], 0.5 * x], axis=-1).astype(np.uint8)


def has(picture, color):
    return bool((np.abs(picture.astype(int) - color).sum(axis=-1) < 12).any())


def test_matches_that_agree_look_different_from_the_others():
    black = np.zeros((60, 80), np.uint8)
    points = np.array([[10, 10], [50, 40.0]])
    for inliers, told in (
        ([True, True], (True, False)),
        ([False, False], (False, True)),
        (None, (False, True)),
    ):
        drawn = draw_matches(black, black, points, points, inliers)
        assert (has(drawn, INLIER), has(drawn, OUTLIER)) == told


def test_a_line_ends_where_its_keypoints_are():
    black = np.zeros((60, 80), np.uint8)
    drawn = draw_matches(black, black, np.array([[10.0, 20.0]]), np.array([[30.0, 40.0]]), [True])
    assert tuple(drawn[20, 10]) == tuple(drawn[40, 80 + 8 + 30]) == INLIER


def test_wide_pictures_stand_one_above_the_other():
    drawn = draw_matches(*[np.zeros((20, 400), np.uint8)] * 2, np.zeros((0, 2)), np.zeros((0, 2)))
    assert drawn.shape[1] == 400
    assert drawn.shape[0] < 80


def test_large_pictures_are_reduced_and_few_of_many_lines_drawn():
    black = np.zeros((600, 900), np.uint8)
    points = np.random.default_rng(0).uniform(0, 590, (5000, 2))
    many = draw_matches(black, black, points, points, np.ones(5000, bool), 10_000, 400)
    few = draw_matches(black, black, points, points, np.ones(5000, bool), 20, 400)
    assert max(few.shape) <= 410
    lit = [(picture[:200].max(axis=-1) > 20).mean() for picture in (few, many)]
    assert 0.01 < lit[0] < 0.5 < lit[1]


def test_lines_are_spread_where_many_matches_are_equally_good():
    """Three quarters of the points crowd a corner, and come first."""
    rng = np.random.default_rng(0)
    points = np.r_[rng.uniform(0, 60, (900, 2)), rng.uniform(0, 590, (300, 2))]
    kept = points[_spread(points, np.arange(1200), 100)]
    assert len(kept) == 100
    assert (kept.max(axis=1) > 100).mean() > 0.6
    assert len(_spread(points, np.arange(50), 100)) == 50


def test_a_panorama_holds_both_pictures_and_is_whole(scene):
    first, second = scene[:70, 30:], scene[10:, :100]
    # first[y, x] = scene[y, x + 30] = second[y - 10, x + 30]
    there = np.array([[1, 0, 30], [0, 1, -10], [0, 0, 1.0]])
    panorama = draw_panorama(first, second, there)
    assert panorama.shape == scene.shape
    covered = np.zeros(scene.shape[:2], bool)
    covered[:70, 30:] = covered[10:, :100] = True
    apart = np.abs(panorama.astype(int) - scene).max(axis=-1)
    assert apart[covered].max() <= 3
    assert panorama[~covered].max() == 0


def test_a_panorama_makes_brightness_even(scene):
    dark = (scene * 0.6).astype(np.uint8)
    panorama = draw_panorama(
        dark[:, 30:], scene[:, :100], np.array([[1, 0, 30], [0, 1, 0], [0, 0, 1.0]])
    )
    assert np.abs(panorama.astype(int) - scene).mean() < 6


@pytest.mark.parametrize(
    "homography",
    [
        np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1]]),  # a column goes to infinity
        np.diag([90.0, 90, 1]),
        np.full((3, 3), np.nan),
    ],
)
def test_what_tears_a_picture_apart_makes_no_panorama(scene, homography):
    assert draw_panorama(scene, scene, homography) is None


def test_a_large_panorama_is_reduced(scene):
    assert max(draw_panorama(scene, scene, SHIFT, size=64).shape[:2]) == 64


def test_an_aligned_checkerboard_is_the_picture_itself(scene):
    board = draw_checkerboard(scene, scene, np.eye(3))
    assert np.array_equal(board, scene)
    board = draw_checkerboard(255 - scene, scene, np.eye(3), fields=13)
    assert np.array_equal(board[:10, :10], scene[:10, :10])
    assert np.array_equal(board[:10, 10:20], 255 - scene[:10, 10:20])
