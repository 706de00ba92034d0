import numpy as np
import pytest
import torch

from patchmatch.draw import difference_image, draw_boxes, montage, parse_color

GREEN, RED = (0, 255, 0), (255, 0, 0)


def gray(height: int, width: int, value: int = 100) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def pixels_of(image: np.ndarray, color: tuple[int, int, int]) -> set[tuple]:
    return {tuple(pixel) for pixel in np.argwhere((image == color).all(axis=2)).tolist()}


def test_box_is_drawn_on_its_outermost_pixels_only():
    image = draw_boxes(gray(12, 20), [(3, 2, 9, 7)], [GREEN], thickness=1)
    border = {(y, x) for y in range(2, 7) for x in range(3, 9) if y in (2, 6) or x in (3, 8)}
    assert pixels_of(image, GREEN) == border
    assert (
        pixels_of(image, (100, 100, 100)) == {(y, x) for y in range(12) for x in range(20)} - border
    )


def test_thick_lines_extend_inwards():
    image = draw_boxes(gray(20, 30), [(4, 3, 24, 17)], [RED], thickness=3)
    pixels = pixels_of(image, RED)
    assert (min(pixels), max(pixels)) == ((3, 4), (16, 23))
    assert (5, 14) in pixels
    assert (6, 14) not in pixels


def test_input_is_not_modified():
    colored = np.full((8, 9, 3), 7, np.uint8)
    draw_boxes(colored, [(0, 0, 5, 5)], [RED])
    assert (colored == 7).all()


def test_uint16_is_scaled_and_gray_becomes_rgb():
    image = draw_boxes(np.full((4, 6), 65535, np.uint16), torch.zeros((0, 4)), [])
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    assert (image == 255).all()


def test_first_box_is_on_top():
    image = draw_boxes(gray(10, 12), [(2, 2, 8, 8), (2, 2, 10, 6)], [GREEN, RED])
    assert image[2, 2].tolist() == list(GREEN)
    assert image[2, 9].tolist() == list(RED)


def test_boxes_are_clipped_to_the_image():
    boxes = [(-5, 2, 4, 30), (40, 40, 50, 50)]
    pixels = pixels_of(draw_boxes(gray(10, 12), boxes, [RED, RED]), RED)
    assert (min(pixels), max(pixels)) == ((2, 0), (9, 3))


def test_lines_are_thicker_on_large_images():
    small = draw_boxes(gray(28, 40), [(2, 2, 26, 26)], [RED])
    large = draw_boxes(gray(1080, 1920), [(100, 100, 400, 400)], [RED])
    assert np.count_nonzero((small[10] == RED).all(axis=1)) == 2 * 1
    assert np.count_nonzero((large[250] == RED).all(axis=1)) == 2 * 5


def test_label_is_above_its_box_or_inside_at_the_top_of_the_image():
    plain = draw_boxes(gray(60, 90), [(10, 30, 80, 55)], [GREEN])
    above = draw_boxes(gray(60, 90), [(10, 30, 80, 55)], [GREEN], ["0.93"])
    rows = np.nonzero((above != plain).any(axis=(1, 2)))[0]
    assert 10 < rows.min() < rows.max() < 30
    inside = draw_boxes(gray(60, 90), [(10, 0, 80, 55)], [GREEN], ["0.93"])
    assert (inside[2:14, 10:30] == GREEN).all(axis=2).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colors": []}, "got 1 boxes, 0 colors, 1 labels"),
        ({"colors": [RED], "labels": ["a", "b"]}, "got 1 boxes, 1 colors, 2 labels"),
        ({"colors": [RED], "thickness": 0}, "thickness must be at least 1 pixel, got 0"),
    ],
)
def test_invalid_boxes_raise(options, message):
    with pytest.raises(ValueError, match=message):
        draw_boxes(gray(5, 6), [(0, 0, 2, 2)], **options)


def test_montage_is_row_major_with_a_margin():
    images = [gray(2, 3, value) for value in (10, 20, 30)]
    image = montage(images, columns=2, gap=1)
    expected = np.full((7, 9), 255)
    expected[1:3, 1:4], expected[1:3, 5:8], expected[4:6, 1:4] = 10, 20, 30
    assert (image == expected[:, :, None]).all()


def test_montage_repeats_pixels_by_scale():
    image = montage([np.array([[0, 50, 100]], np.uint8)], gap=0, scale=2)
    assert image[:, :, 0].tolist() == [[0, 0, 50, 50, 100, 100]] * 2


def test_montage_is_approximately_square_by_default():
    assert montage([gray(4, 4)] * 7, gap=0).shape == (12, 12, 3)


def test_smaller_images_are_centred_in_their_tile():
    image = montage([gray(3, 5, 10), gray(1, 1, 20)], columns=1, gap=0)
    assert np.argwhere(image[:, :, 0] == 20).tolist() == [[4, 2]]


def test_montage_mixes_float_gray_and_rgb():
    colored = np.zeros((2, 2, 3), np.uint8)
    colored[:, :, 0] = 9
    image = montage([np.full((2, 2), 0.5), np.ones((2, 2), np.float32), colored], 3, gap=0)
    assert image[0, ::2].tolist() == [[128] * 3, [255] * 3, [9, 0, 0]]


def test_caption_is_below_its_image_and_widens_the_tile():
    plain = montage([gray(20, 8)] * 2, columns=2)
    image = montage([gray(20, 8)] * 2, columns=2, captions=["larger 0.97", ""])
    assert image.shape[0] > plain.shape[0]
    assert image.shape[1] > plain.shape[1]
    assert (image[22:, : image.shape[1] // 2] < 100).any()
    assert (image[22:, image.shape[1] // 2 :] == 255).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": []}, "at least one image, got an empty list"),
        ({"captions": []}, "got 1 images, 0 captions"),
        ({"columns": 0}, "got columns=0"),
        ({"scale": 0}, "scale=0"),
        ({"gap": -1}, "gap=-1"),
    ],
)
def test_invalid_montages_raise(options, message):
    with pytest.raises(ValueError, match=message):
        montage(**{"images": [gray(2, 2)]} | options)


def test_difference_is_signed_around_128():
    image0 = np.array([[10, 100, 0], [10, 100, 255]], np.uint8)
    image1 = np.array([[10, 70, 255], [15, 100, 0]], np.uint8)
    assert difference_image(image0, image1).tolist() == [[128, 98, 255], [133, 128, 0]]


def test_difference_of_unequal_sizes_raises():
    with pytest.raises(ValueError, match=r"same size, got \(2, 3\), \(3, 2\)"):
        difference_image(gray(2, 3), gray(3, 2))


@pytest.mark.parametrize(
    ("text", "color"), [("green", GREEN), (" Red ", RED), ("#0a10FF", (10, 16, 255))]
)
def test_color_is_a_name_or_six_hex_digits(text, color):
    assert parse_color(text) == color


@pytest.mark.parametrize("text", ["mauve", "", "#12345", "#1234567", "123456", "#12345g"])
def test_unknown_color_raises_with_the_names(text):
    with pytest.raises(ValueError, match=r"#rrggbb or one of black, white, red, green"):
        parse_color(text)
