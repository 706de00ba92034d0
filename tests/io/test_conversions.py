import numpy as np
import pytest

from patchmatch.io import to_gray_float, to_rgb_uint8


def test_gray_is_the_luma_of_bt_601():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    gray = to_gray_float(colours)
    assert gray.dtype == np.float32
    np.testing.assert_allclose(gray, [[0.299, 0.587, 0.114, 1]], atol=1e-6)


def test_every_bit_depth_is_scaled_to_the_full_range():
    for top, dtype in ((255, np.uint8), (65535, np.uint16), (1, np.float32)):
        for shape in ((2, 3), (2, 3, 3)):
            image = np.zeros(shape, dtype)
            image[1] = top
            gray, rgb = to_gray_float(image), to_rgb_uint8(image)
            assert gray.shape == (2, 3)
            assert rgb.shape == (2, 3, 3)
            assert rgb.dtype == np.uint8
            np.testing.assert_allclose(gray, [[0] * 3, [1] * 3], atol=1e-6)
            assert gray.max() <= 1
            assert (rgb[0].max(), rgb[1].min()) == (0, 255)


def test_conversions_return_copies():
    gray, rgb = np.zeros((2, 3), np.float32), np.zeros((2, 3, 3), np.uint8)
    assert not np.shares_memory(to_gray_float(gray), gray)
    assert not np.shares_memory(to_rgb_uint8(rgb), rgb)


@pytest.mark.parametrize("convert", [to_gray_float, to_rgb_uint8])
def test_arrays_of_wrong_shape_or_dtype_raise(convert):
    with pytest.raises(ValueError, match=r"at least one pixel, got \(2, 3, 4\)"):
        convert(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        convert(np.zeros((0, 3), np.uint8))
    with pytest.raises(ValueError, match="must be uint8, uint16 or float32, got int64"):
        convert(np.zeros((2, 3), np.int64))


def test_values_are_rounded_to_the_nearest_uint8():
    levels = np.array([[127.4, 127.6, 254.6]])
    floats = (levels / 255).astype(np.float32)
    words = np.round(levels * 257).astype(np.uint16)
    for image in (floats, words):
        assert to_rgb_uint8(image)[..., 0].tolist() == [[127, 128, 255]]
