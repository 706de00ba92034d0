"""Random crops, and sampling at subpixel positions."""

import numpy as np
import pytest
from textures import smooth

from patchmatch.synthetic.crops import antialias, rotation, sample_bicubic, sample_crop, upsample


def test_rotation_by_90_degrees_takes_x_to_y():
    assert rotation(np.pi / 2) @ [2, 5] == pytest.approx([-5, 2])


def test_a_crop_lies_inside_the_image():
    rng = np.random.default_rng(0)
    shapes, scales = set(), []
    for _ in range(60):
        crop = sample_crop(smooth(90, 130), 40, rng)
        height, width = crop.image.shape[:2]
        half = crop.scale * 40 / 2
        assert half <= crop.centre[0] <= width - half
        assert half <= crop.centre[1] <= height - half
        assert np.linalg.det(crop.matrix) == pytest.approx(crop.scale**2)
        shapes.add((height, width))
        scales.append(crop.scale)
    assert shapes == {(90, 130), (130, 90)}
    assert 0.6 <= min(scales) < 0.7 < 1.3 < max(scales) <= 1.4


def test_crops_have_all_eight_orientations():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0], image[0, 2] = 255, 51
    rng = np.random.default_rng(1)
    seen = {sample_crop(image, 4, rng).image[..., 0].tobytes() for _ in range(80)}
    assert len(seen) == 8


def test_a_crop_larger_than_the_image_is_centred():
    crop = sample_crop(smooth(20, 24), 100, np.random.default_rng(0))
    assert sorted(crop.centre) == [10, 12]


def test_antialias_blurs_only_for_downscaling():
    stripes = np.zeros((30, 40, 3), np.float32)
    stripes[:, ::2] = 1
    assert np.array_equal(antialias(stripes, 1.0), stripes)
    assert antialias(stripes, 2.0)[:, 9:31].std() < 0.2 * stripes.std()


def test_sample_bicubic_mirrors_beyond_the_border():
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1).repeat(3, axis=2) / 20
    points = np.array([[[1, 2], [-1, 0]], [[4, 1], [3, 3]], [[0, -2], [2, 1]]], np.float64)
    expected = np.array([[9, 0], [7, 11], [4, 6]]) / 20  # the border itself is repeated
    assert sample_bicubic(image, points)[..., 2] == pytest.approx(expected, abs=1e-6)
    bright = sample_bicubic(image + 0.8, points)
    assert bright.max() == 1


@pytest.mark.parametrize("waves", [3, 11])
def test_upsample_is_exact_between_the_pixels_of_a_cosine(waves):
    def cosine(y, x):  # symmetric at the border
        return np.cos(waves * np.pi / 40 * (x + 0.5)) * np.cos(5 * np.pi / 24 * (y + 0.5))

    rows, columns = np.mgrid[:24, :40]
    found = upsample(cosine(rows, columns).astype(np.float32))
    assert found.shape == (96, 160)
    rows, columns = (np.mgrid[:96, :160] - 1.5) / 4
    assert found == pytest.approx(cosine(rows, columns), abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 3), (7, 8)])
def test_upsample_repeats_the_last_pixels_of_odd_sides(size):
    image = np.random.default_rng(0).random(size, np.float32)
    even = np.pad(image, [(0, side % 2) for side in size], mode="edge")
    assert upsample(image).shape == tuple(4 * side for side in even.shape)
    assert (upsample(image) == upsample(even)).all()
    assert upsample(np.full(size, 0.3, np.float32)) == pytest.approx(0.3, abs=1e-6)
