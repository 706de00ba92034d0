import numpy as np
import pytest

from patchmatch.draw import draw_arrows

RED = (255, 0, 0)


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def reddish(image: np.ndarray) -> set[tuple]:
    """Return the pixels (y, x) of strokes, without their blended edges."""
    mask = (image[..., 0] > 200) & (image[..., 1] < 60)
    return {tuple(pixel) for pixel in np.argwhere(mask).tolist()}


def test_arrow_starts_at_its_origin_and_follows_the_displacement():
    image = draw_arrows(gray(40, 60), [(10, 20)], [(30.0, 0.0)], [RED], thickness=1)
    red = reddish(image)
    assert {(20, x) for x in range(11, 40)} <= red
    assert max(x for _, x in red) == 40
    assert min(x for _, x in red) == 11  # the end of the shaft is blended
    steep = draw_arrows(gray(40, 60), [(10, 5)], [(0.0, 20.0)], [RED], thickness=1)
    assert max(y for y, _ in reddish(steep)) == 25


def test_short_arrow_is_drawn_with_the_minimum_length():
    for dx in (0.1, 1.0, 12.0):
        image = draw_arrows(gray(40, 60), [(10, 20)], [(dx, 0.0)], [RED], thickness=1)
        assert max(x for _, x in reddish(image)) == 22
    scaled = draw_arrows(gray(40, 60), [(10, 20)], [(5.0, 0.0)], [RED], scale=6, thickness=1)
    assert max(x for _, x in reddish(scaled)) == 40


def test_displacement_that_is_not_finite_is_a_cross_and_zero_is_a_dot():
    cross = draw_arrows(gray(30, 30), [(15, 15)], [(np.nan, 1.0)], [RED], thickness=1)
    red = reddish(cross)
    assert {(13, 13), (13, 17), (17, 13), (17, 17), (15, 15)} <= red
    dot = reddish(draw_arrows(gray(30, 30), [(15, 15)], [(0, 0)], [RED], thickness=1))
    assert {(15, 15)} <= dot <= {(y, x) for y in (14, 15, 16) for x in (14, 15, 16)}


def test_input_is_not_modified_and_any_number_can_be_drawn():
    image = gray(30, 40)
    starts = [(5, 5), (np.nan, 3), (-1e9, 4), (5, 5)]
    displacement = [(1e30, -1e30), (1, 1), (2, 2), (np.inf, 0)]
    draw_arrows(image, starts, displacement, [RED] * 4)
    assert (image == 100).all()
    assert (draw_arrows(image, np.zeros((0, 2)), [], []) == 100).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colors": []}, "got 1 starts, 1 displacements, 0 colors"),
        ({"displacement": []}, "got 1 starts, 0 displacements, 1 colors"),
        ({"scale": 0}, "scale must be a positive number, got 0"),
        ({"scale": float("inf")}, "scale must be a positive number, got inf"),
        ({"thickness": 0}, "thickness must be at least 1 pixel, got 0"),
    ],
)
def test_invalid_arrows_raise(options, message):
    defaults = {"starts": [(1, 1)], "displacement": [(1, 0)], "colors": [RED]}
    with pytest.raises(ValueError, match=message):
        draw_arrows(gray(5, 6), **defaults | options)
