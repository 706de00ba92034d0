import cv2
import numpy as np
import pytest

from patchmatch.synthetic.views import draw_homography, jitter_illumination, warp_view


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def moved(homography, *points):
    return cv2.perspectiveTransform(np.array([points], np.float64), homography)[0]


def test_without_turn_zoom_and_tilt_the_view_is_only_shifted(rng):
    for _ in range(5):
        homography = draw_homography(64, 0, 1, 0, rng)
        shift = homography[:2, 2]
        np.testing.assert_allclose(homography[:2, :2], np.eye(2), atol=1e-5)
        assert 0 < np.abs(shift).max() <= 6.4


def test_turn_zoom_and_tilt_stay_within_their_limits(rng):
    turns, sizes = [], []
    for _ in range(200):
        homography = draw_homography(80, 30, 1.5, 0, rng)
        turns.append(np.rad2deg(np.arctan2(homography[1, 0], homography[0, 0])))
        sizes.append(np.sqrt(np.linalg.det(homography[:2, :2])))
    assert 25 < max(turns) <= 30.01
    assert -30.01 <= min(turns) < -25
    assert 1.4 < max(sizes) <= 1.51
    assert 1 / 1.51 <= min(sizes) < 1 / 1.4
    corner = [moved(draw_homography(80, 0, 1, 0.1, rng), (0, 0))[0] for _ in range(50)]
    assert 8 < np.abs(corner).max() < 80 * 0.2 + 0.1


def test_the_homography_takes_the_location_to_its_view(rng):
    image = np.zeros((90, 120, 3), np.uint8)
    image[51:54, 70:73, 0] = 255  # a red dot centred at (71, 52)
    homography = draw_homography(64, 40, 1.3, 0.1, rng)
    view = warp_view(image, (40, 20), homography, 64)
    assert view.shape == (64, 64, 3)
    assert view[..., 1:].max() == 0
    y, x = np.mgrid[:64, :64]
    centre = [(view[..., 0] * axis).sum() / view[..., 0].sum() for axis in (x, y)]
    np.testing.assert_allclose(centre, moved(homography, (71 - 40, 52 - 20))[0], atol=0.3)


def test_the_identity_shows_the_location_itself():
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    view = warp_view(image, (20, 10), np.eye(3), 32)
    np.testing.assert_allclose(view, image[10:42, 20:52] / 255, atol=1e-6)


def test_a_smaller_view_is_antialiased():
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    view = warp_view(stripes, (0, 0), np.diag([1 / 3, 1 / 3, 1]), 60)
    assert np.abs(view - 0.5).max() < 0.1


def test_jitter_changes_brightness_colour_and_noise(rng):
    view = np.full((40, 50, 3), 0.5, np.float32)
    weak = [jitter_illumination(view, 0.0, rng) for _ in range(10)]
    assert max(np.abs(one.mean() - 0.5) for one in weak) < 0.01
    assert max(one.std() for one in weak) < 2.5 / 255
    strong = [jitter_illumination(view, 1.0, rng) for _ in range(40)]
    assert all(one.dtype == np.float32 and one.shape == view.shape for one in strong)
    assert min(one.min() for one in strong) >= 0
    assert max(one.max() for one in strong) <= 1
    means = np.array([one.mean(axis=(0, 1)) for one in strong])
    assert means.mean(axis=1).std() > 0.08
    assert (means.max(axis=1) - means.min(axis=1)).mean() > 0.03
    halves = [abs(one[:, :10].mean() - one[:, -10:].mean()) for one in strong]
    assert max(halves) > 0.1  # a shadow
