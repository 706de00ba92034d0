"""Which place of a picture a view shows, and how it is read there."""

import numpy as np
import pytest
from textures import smooth

from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop, upsample


def test_a_quarter_turn_takes_x_to_y():
    assert rotation(np.pi / 2) @ [2, 5] == pytest.approx([-5, 2])


def test_the_middle_of_a_view_lies_as_far_inside_as_its_half():
    rng = np.random.default_rng(0)
    shapes, scales = set(), []
    for _ in range(60):
        placing = sample_crop(smooth(90, 130), 40, rng)
        height, width = placing.picture.shape[:2]
        half = placing.scale * 40 / 2
        assert half <= placing.centre[0] <= width - half
        assert half <= placing.centre[1] <= height - half
        assert np.linalg.det(placing.matrix) == pytest.approx(placing.scale**2)
        shapes.add((height, width))
        scales.append(placing.scale)
    assert shapes == {(90, 130), (130, 90)}
    assert 0.6 <= min(scales) < 0.7 < 1.3 < max(scales) <= 1.4


def test_the_picture_is_turned_and_mirrored_in_all_eight_ways():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 0], picture[0, 2] = 255, 51
    rng = np.random.default_rng(1)
    seen = {sample_crop(picture, 4, rng).picture[..., 0].tobytes() for _ in range(80)}
    assert len(seen) == 8


def test_of_a_picture_without_room_the_middle_is_shown():
    placing = sample_crop(smooth(20, 24), 100, np.random.default_rng(0))
    assert sorted(placing.centre) == [10, 12]


def test_only_what_is_made_smaller_is_smoothed():
    stripes = np.zeros((30, 40, 3), np.float32)
    stripes[:, ::2] = 1
    assert np.array_equal(antialias(stripes, 1.0), stripes)
    assert antialias(stripes, 2.0)[:, 9:31].std() < 0.2 * stripes.std()


def test_beyond_its_border_a_picture_is_mirrored():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4, 1).repeat(3, axis=2) / 20
    places = np.array([[[1, 2], [-1, 0]], [[4, 1], [3, 3]], [[0, -2], [2, 1]]], np.float64)
    expected = np.array([[9, 0], [7, 11], [4, 6]]) / 20  # the border itself is repeated
    assert sample_bicubic(picture, places)[..., 2] == pytest.approx(expected, abs=1e-6)
    bright = sample_bicubic(picture + 0.8, places)
    assert bright.max() == 1


@pytest.mark.parametrize("waves", [3, 11])
def test_between_the_pixels_of_a_picture_a_finer_one_shows_what_lies_there(waves):
    def shade(y, x):  # which is mirrored at the border
        return np.cos(waves * np.pi / 40 * (x + 0.5)) * np.cos(5 * np.pi / 24 * (y + 0.5))

    rows, columns = np.mgrid[:24, :40]
    found = upsample(shade(rows, columns).astype(np.float32))
    assert found.shape == (96, 160)
    rows, columns = (np.mgrid[:96, :160] - 1.5) / 4
    assert found == pytest.approx(shade(rows, columns), abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 3), (7, 8)])
def test_of_odd_sides_the_last_pixels_are_repeated(size):
    picture = np.random.default_rng(0).random(size, np.float32)
    even = np.pad(picture, [(0, side % 2) for side in size], mode="edge")
    assert upsample(picture).shape == tuple(4 * side for side in even.shape)
    assert (upsample(picture) == upsample(even)).all()
    assert upsample(np.full(size, 0.3, np.float32)) == pytest.approx(0.3, abs=1e-6)
